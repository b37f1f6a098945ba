#include "wire/preprocessing.h"

#include "wire/read_struct.h"

namespace muster::wire {

nlohmann::json to_json(const Preprocessing& preprocessing) {
    return nlohmann::json(preprocessing);
}

Result<Preprocessing> preprocessing_from_json(const nlohmann::json& json) {
    return read_struct<Preprocessing>(json, "preprocessing");
}

nlohmann::json to_json(const MatrixInfo& info) {
    return nlohmann::json(info);
}

Result<MatrixInfo> matrix_info_from_json(const nlohmann::json& json) {
    return read_struct<MatrixInfo>(json, "matrix");
}

} // namespace muster::wire
