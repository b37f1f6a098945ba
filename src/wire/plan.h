/// Plans as JSON: what VsDataContainer=decision holds and `muster plan` shows.
#pragma once

#include "base/result.h"
#include "model/calibration.h"
#include "model/capacity.h"
#include "model/plan.h"

#include <nlohmann/json.hpp>

namespace muster::wire {

[[nodiscard]] nlohmann::json to_json(const Plan& plan);
/// Errors: invalid_argument.
[[nodiscard]] Result<Plan> plan_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const Calibration& calibration);
/// Errors: invalid_argument.
[[nodiscard]] Result<Calibration> calibration_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const Capacity& capacity);
[[nodiscard]] nlohmann::json to_json(const DataSource& source);

} // namespace muster::wire
