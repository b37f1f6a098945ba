/// Preprocessing, the statistics that it is made of, and matrix facts as JSON.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/statistics.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace muster::wire {

[[nodiscard]] nlohmann::json to_json(const Preprocessing& preprocessing);
/// Errors: invalid_argument.
[[nodiscard]] Result<Preprocessing> preprocessing_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const TableStatistics& statistics);
/// Errors: invalid_argument.
[[nodiscard]] Result<TableStatistics> statistics_from_json(const nlohmann::json& json);

/// What names encoded data (MatrixInfo::digest): the SHA-256 over those of its files (hex, in the order of parts_of())
/// and how they were encoded.
[[nodiscard]] std::string matrix_digest(const std::vector<std::string>& files, const Preprocessing& preprocessing);

[[nodiscard]] nlohmann::json to_json(const MatrixInfo& info);
/// Errors: invalid_argument.
[[nodiscard]] Result<MatrixInfo> matrix_info_from_json(const nlohmann::json& json);

} // namespace muster::wire
