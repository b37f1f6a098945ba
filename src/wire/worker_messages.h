/// What agent and worker say to each other on their Unix socket, as JSON: {"type": "prepare", "body": {...}}.
/// The socket belongs to one user on one machine; keys pass through it and never through a file.
#pragma once

#include "base/result.h"
#include "port/worker_process.h"

#include <nlohmann/json.hpp>

namespace muster::wire {

[[nodiscard]] nlohmann::json to_json(const ToWorker& message);
/// Errors: invalid_argument, for an unknown type or a body that does not fit.
[[nodiscard]] Result<ToWorker> to_worker_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const FromWorker& message);
/// Errors: as above.
[[nodiscard]] Result<FromWorker> from_worker_from_json(const nlohmann::json& json);

} // namespace muster::wire
