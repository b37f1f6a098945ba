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

/// The sandboxed worker may not connect() by itself: it asks the agent on the same socket with
/// {"type": "dial", "body": {"id": 1, "address": "host:port", "timeout_ms": 900}}, and the agent answers with a frame
/// {"type": "dialled", "body": {"id": 1, "error": ""}} that carries the connected socket (base/frame_socket.h).
struct DialRequest {
    std::int64_t id{};
    std::string address;
    std::int64_t timeout_ms{};
};
struct DialAnswer {
    std::int64_t id{};
    std::string error; ///< empty: the frame carries the socket
};
[[nodiscard]] nlohmann::json to_json(const DialAnswer& answer);
/// Says whether a message is a dial request.
[[nodiscard]] bool is_dial(const nlohmann::json& json);
/// Errors: invalid_argument.
[[nodiscard]] Result<DialRequest> dial_request_from_json(const nlohmann::json& json);

} // namespace muster::wire
