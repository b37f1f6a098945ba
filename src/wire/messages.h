/// Control channel messages as JSON: {"type": "propose", "body": {...}}.
#pragma once

#include "base/result.h"
#include "model/messages.h"

#include <nlohmann/json.hpp>

namespace muster::wire {

[[nodiscard]] nlohmann::json to_json(const ToFunction& message);
/// Errors: invalid_argument, for an unknown type or a body that does not fit.
[[nodiscard]] Result<ToFunction> to_function_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const FromFunction& message);
/// Errors: as above.
[[nodiscard]] Result<FromFunction> from_function_from_json(const nlohmann::json& json);

/// The name of a message's type, for logs, e.g. "propose".
[[nodiscard]] std::string_view type_of(const ToFunction& message);
[[nodiscard]] std::string_view type_of(const FromFunction& message);

} // namespace muster::wire
