/// Frames on a Unix stream socket: 4 bytes of length (little endian), then text; a frame may carry one descriptor.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// One frame as it came.
struct Frame {
    std::string text;
    UniqueFd descriptor; ///< valid when one was attached (SCM_RIGHTS)
};

/// Sends and receives frames. One thread sends and one receives at a time; the descriptor is owned.
class FrameSocket {
public:
    static constexpr std::size_t frame_bytes_max = 1U << 20U;

    explicit FrameSocket(UniqueFd socket) : socket_{std::move(socket)} {}

    /// Sends one frame, with `descriptor` attached when it is >= 0 (it stays the caller's).
    /// Errors: resource_exhausted, over frame_bytes_max; unavailable, the peer is gone; deadline_exceeded.
    [[nodiscard]] Result<void> send(std::string_view text, Deadline deadline, int descriptor = -1);
    /// Receives one frame; nothing, when none has come by the deadline.
    /// Errors: unavailable, the peer is gone; invalid_argument, a length over frame_bytes_max.
    [[nodiscard]] Result<std::optional<Frame>> receive(Deadline deadline);
    [[nodiscard]] int fd() const { return socket_.get(); }

private:
    [[nodiscard]] Result<void> read_some(std::size_t bytes_max);

    UniqueFd socket_;
    std::string buffer_;
    UniqueFd attached_;
};

} // namespace muster
