/// The frame around each message of the control channel:
///   {"v": 1, "id": n, "epoch": e, "type": "...", "body": {...}}
/// `id` counts the messages of one sender from 1; `epoch` is the producer's, as far as the sender knows it (0: not
/// yet). Besides the messages of model/messages.h there is {"type": "ack", "body": {"id": n}}: all up to n have
/// arrived.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster::link {

/// The version of the protocol. A peer with another one is refused with both numbers.
inline constexpr std::int64_t protocol_version = 1;

/// One frame, opened. `message` is {"type", "body"}, as wire/messages.h reads it.
struct Envelope {
    std::int64_t id{};
    std::int64_t epoch{};
    nlohmann::json message{};

    /// The id that an "ack" acknowledges; none for other types.
    [[nodiscard]] std::optional<std::int64_t> acknowledged() const;
};

/// Writes a frame around {"type", "body"}.
[[nodiscard]] std::string seal(std::int64_t id, std::int64_t epoch, nlohmann::json message);
[[nodiscard]] std::string seal_ack(std::int64_t epoch, std::int64_t id);
/// Errors: invalid_argument, for what is no frame or of another version.
[[nodiscard]] Result<Envelope> open_envelope(std::string_view text);

} // namespace muster::link
