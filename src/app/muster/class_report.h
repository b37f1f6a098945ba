/// What a report says of each class: where the model is bad.
#pragma once

#include "app/muster/output.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::app {

/// {"rows": "test", "classes": [{"class": "a", "rows": 10, "precision": 90.0, ...}], "confusion": {"a": {"a": 9, "b":
/// 1}}} of the trained model, on test rows where there are some, else on validation or training rows; null when the
/// model tells no classes apart. `participants` is the container of the report (api/containers.md).
[[nodiscard]] nlohmann::json class_report(const nlohmann::json& participants);

/// The same for people; empty when there is nothing to be said.
[[nodiscard]] std::string class_text(const nlohmann::json& participants);

} // namespace muster::app
