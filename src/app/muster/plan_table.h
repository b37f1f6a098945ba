/// How a plan looks to people.
#pragma once

#include "app/muster/output.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::app {

/// PLAN FUNCTIONS STEP TOTAL PEAK MEM WIRE/STEP FITS, one row a candidate, the chosen one marked "<-".
[[nodiscard]] Table plan_table(const nlohmann::json& plan);
/// "Why: ..."
[[nodiscard]] std::string plan_words(const nlohmann::json& plan);

} // namespace muster::app
