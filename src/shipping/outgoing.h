/// What is on its way from the holder to one receiver. For this folder's own use.
#pragma once

#include "collective/group.h"
#include "shipping/shipment.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace muster::shipping {

/// The rate that all receivers of a holder share. Any thread.
class SharedPace {
public:
    SharedPace(const Pace& pace, std::int64_t bytes_per_second, std::int64_t burst_bytes)
        : pace_{&pace}, bucket_{bytes_per_second, burst_bytes, pace.clock} {}

    /// Takes `bytes` and returns how long to wait before they may leave.
    [[nodiscard]] Duration take(std::int64_t bytes);
    void sleep(Duration wait) const { pace_->sleep(wait); }
    [[nodiscard]] SteadyTime now() const { return pace_->clock.steady_now(); }

private:
    const Pace* pace_;
    std::mutex mutex_;
    TokenBucket bucket_;
};

/// Sends the cargo to one receiver. One thread.
class Outgoing {
public:
    /// The arguments outlive it.
    Outgoing(collective::Group& group, int to, std::span<const Cargo> cargo, SharedPace& pace);

    /// Learns what the receiver has, sends the rest and hears what it says of the whole. Errors: those of ship() about
    /// this receiver. Throws collective::GroupFailed.
    [[nodiscard]] Result<Receipt> run(std::int64_t block_bytes_max, std::size_t pending_max);

private:
    struct Block {
        std::vector<std::byte> copy{}; ///< before the transfer that reads it
        std::unique_ptr<collective::Transfer> transfer{};
    };

    [[nodiscard]] Result<std::int64_t> begin(std::int64_t block_bytes_max);
    void finish_all_but(std::size_t most);
    void send(std::int64_t size);
    [[nodiscard]] Result<void> hear_verdict();
    [[nodiscard]] std::span<const std::byte> view(std::int64_t at, std::int64_t size) const;
    [[nodiscard]] std::vector<std::byte> gathered(std::int64_t size) const;

    collective::Group* group_;
    std::span<const Cargo> cargo_;
    SharedPace* pace_;
    std::int64_t sent_{0};
    std::deque<Block> pending_;
    Receipt receipt_;
};

} // namespace muster::shipping
