/// What a report says of the rows of each category: in which cells a model is bad.
#pragma once

#include "app/muster/output.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::app {

/// {"rows": "test", "inputs": {"cell_id": [{"group": "a", "rows": 10, "MAE": 1.5, ...}]}} of the trained model, on test
/// rows where there are some, else on validation or training rows; rows without a category have the group null. null
/// when the recipe has no report_by. `participants` is the container of the report (api/containers.md).
[[nodiscard]] nlohmann::json group_report(const nlohmann::json& participants);

/// The same for people, with the metrics of the recipe; empty when there is nothing to be said.
[[nodiscard]] std::string group_text(const nlohmann::json& participants);

} // namespace muster::app
