/// Messages between two ranks, on their way out and in. They belong to whoever waits for them; a Lane moves them.
#pragma once

#include "collective/frame.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace muster::collective {

class Lane;

/// A message on its way to a peer. Its payload must stay as it is until done; when a Sending goes earlier, the lane
/// keeps a copy of what is left.
class Sending {
public:
    Sending() = default;
    ~Sending();
    Sending(const Sending&) = delete;
    Sending& operator=(const Sending&) = delete;

    /// True when everything was given to the connection. Any thread.
    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

private:
    friend class Lane;
    friend class Link;
    std::atomic<bool> done_{true};
    Lane* lane_{};
};

/// A message that is expected from a peer, and the place where it is to go. When it goes before it is done, what
/// still comes is thrown away.
class Receiving {
public:
    Receiving() = default;
    ~Receiving();
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;

    /// True when all of it has arrived. Any thread.
    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
    /// Who sent it, as a rank of the mesh. REQUIRES: done().
    [[nodiscard]] int from() const { return from_; }

private:
    friend class Lane;
    std::atomic<bool> done_{true};
    Lane* lane_{};
    std::uint64_t channel_{};
    int peer_{};  ///< rank of the mesh, or any_peer
    int from_{};  ///< who sends it, once that is known
    Call call_{}; ///< of a transfer: only tag and size count
    Step step_{};
    std::span<std::byte> place_{};
    std::size_t received_{0};
    std::optional<std::uint64_t> number_{}; ///< of the transfer that it was matched with
};

inline constexpr int any_peer = -1;

} // namespace muster::collective
