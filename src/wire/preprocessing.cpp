#include "wire/preprocessing.h"

#include "base/digest.h"
#include "wire/read_struct.h"

namespace muster::wire {

nlohmann::json to_json(const Preprocessing& preprocessing) {
    return nlohmann::json(preprocessing);
}

Result<Preprocessing> preprocessing_from_json(const nlohmann::json& json) {
    return read_struct<Preprocessing>(json, "preprocessing");
}

nlohmann::json to_json(const TableStatistics& statistics) {
    return nlohmann::json(statistics);
}

Result<TableStatistics> statistics_from_json(const nlohmann::json& json) {
    return read_struct<TableStatistics>(json, "statistics");
}

nlohmann::json to_json(const MatrixInfo& info) {
    return nlohmann::json(info);
}

Result<MatrixInfo> matrix_info_from_json(const nlohmann::json& json) {
    return read_struct<MatrixInfo>(json, "matrix");
}

std::string matrix_digest(const std::vector<std::string>& files, const Preprocessing& preprocessing) {
    std::string parts;
    for (const std::string& digest : files) {
        parts += digest + "\n";
    }
    return sha256_hex(parts + to_json(preprocessing).dump());
}

} // namespace muster::wire
