#include "shipping/shipment.h"

#include "shipping/outgoing.h"
#include "shipping/talk.h"
#include "shipping/unloading.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace muster::shipping {
namespace {

using collective::Group;

/// How large blocks are so that each of `receivers` gets one often enough.
std::int64_t block_bytes_of(const ShipmentSettings& settings, std::size_t receivers) {
    if (settings.bytes_per_second_max == 0 || receivers == 0) {
        return settings.block_bytes_max;
    }
    const double often = std::chrono::duration<double>(settings.block_interval_max).count() *
                         static_cast<double>(settings.bytes_per_second_max) / static_cast<double>(receivers);
    return static_cast<std::int64_t>(std::clamp(often, 1.0, static_cast<double>(settings.block_bytes_max)));
}

/// The threads that send, one for each receiver: who reads slowly keeps nobody else waiting.
class Fleet {
public:
    Fleet(Group& group,
          std::span<const Cargo> cargo,
          std::span<const int> receivers,
          const ShipmentSettings& settings,
          const Pace& pace)
        : block_bytes_{block_bytes_of(settings, receivers.size())},
          pending_max_{settings.blocks_pending}, pace_{pace, settings.bytes_per_second_max, block_bytes_} {
        for (const int receiver : receivers) {
            voyages_.push_back({.to = receiver});
        }
        for (Voyage& voyage : voyages_) {
            threads_.emplace_back([this, &group, cargo, &voyage] { sail(group, cargo, voyage); });
        }
    }

    /// Waits for at most `wait`; returns the receivers that have ended since the last call.
    std::vector<int> wait_for(Duration wait) {
        std::unique_lock lock{mutex_};
        changed_.wait_for(lock, wait, [&] { return !ended_.empty(); });
        return std::exchange(ended_, {});
    }
    /// Joins the threads. Throws what the first of them has thrown.
    Result<std::vector<Receipt>> receipts() {
        threads_.clear();
        std::vector<Receipt> receipts;
        std::optional<Error> failure;
        for (const Voyage& voyage : voyages_) {
            if (voyage.thrown) {
                std::rethrow_exception(voyage.thrown);
            }
            if (*voyage.result) {
                receipts.push_back(**voyage.result);
            } else if (!failure) {
                failure = voyage.result->error();
            } else {
                failure->message += "; " + voyage.result->error().message;
            }
        }
        if (failure) {
            return std::move(*failure);
        }
        return receipts;
    }

private:
    struct Voyage {
        int to{};
        std::optional<Result<Receipt>> result{};
        std::exception_ptr thrown{};
    };

    void sail(Group& group, std::span<const Cargo> cargo, Voyage& voyage) {
        try {
            voyage.result = Outgoing{group, voyage.to, cargo, pace_}.run(block_bytes_, pending_max_);
        } catch (...) { // carried to the thread that ships
            voyage.thrown = std::current_exception();
        }
        const std::scoped_lock lock{mutex_};
        ended_.push_back(voyage.to);
        changed_.notify_one();
    }

    std::int64_t block_bytes_;
    std::size_t pending_max_;
    SharedPace pace_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<int> ended_;
    std::deque<Voyage> voyages_;
    std::vector<std::jthread> threads_;
};

Verdict verdict_of(const Result<void>& result, const std::string& digest) {
    Verdict verdict{};
    if (!result) {
        switch (result.error().code) {
        case ErrorCode::conflict:
            verdict.outcome = Outcome::other_digest;
            break;
        case ErrorCode::resource_exhausted:
            verdict.outcome = Outcome::no_room;
            break;
        default:
            verdict.outcome = Outcome::not_written;
        }
    }
    std::copy_n(digest.begin(), std::min(digest.size(), verdict.digest.size()), verdict.digest.begin());
    return verdict;
}

/// Takes the blocks that are left. After a failure to write, the rest is taken and dropped: the sender has it under
/// way.
Result<void>
take_blocks(Group& group, int from, Landing& landing, std::int64_t block_bytes, const ShipmentSettings& settings) {
    struct Arriving {
        Unloading::Block bytes{}; ///< before the transfer that fills it
        std::unique_ptr<collective::Transfer> transfer{};
    };
    std::int64_t asked = landing.arrived();
    Unloading unloading{landing, settings.blocks_pending, settings.on_arrival};
    std::deque<Arriving> pending;
    while (asked < landing.bytes() || !pending.empty()) {
        while (asked < landing.bytes() && pending.size() < settings.blocks_pending) {
            auto& block = pending.emplace_back();
            block.bytes = unloading.used();
            block.bytes.resize(static_cast<std::size_t>(std::min(block_bytes, landing.bytes() - asked)));
            block.transfer = group.receive(block.bytes, from, block_tag);
            asked += std::ssize(block.bytes);
        }
        pending.front().transfer->wait();
        pending.front().transfer.reset();
        unloading.put(std::move(pending.front().bytes));
        pending.pop_front();
    }
    return unloading.finish();
}

} // namespace

Result<std::vector<Receipt>> ship(Group& group,
                                  std::span<const Cargo> cargo,
                                  std::span<const int> receivers,
                                  std::span<const int> bystanders,
                                  const ShipmentSettings& settings,
                                  const Pace& pace) {
    std::vector<int> waiting{bystanders.begin(), bystanders.end()};
    const auto give = [&](Sign sign) {
        for (const int rank : waiting) {
            tell(group, rank, sign);
        }
    };
    Fleet fleet{group, cargo, receivers, settings, pace};
    for (std::size_t ended = 0; ended < receivers.size();) {
        const auto more = fleet.wait_for(settings.sign_interval);
        waiting.insert(waiting.end(), more.begin(), more.end());
        ended += more.size();
        if (ended < receivers.size()) {
            give(Sign::under_way);
        }
    }
    auto receipts = fleet.receipts();
    give(receipts ? Sign::done : Sign::refused);
    return receipts;
}

namespace {

/// Takes and verifies what is missing, and tells the sender.
Result<void> take_cargo(Group& group, int from, Landing& landing, const ShipmentSettings& settings) {
    tell(group, from, Demand{talk_version, landing.bytes(), landing.arrived(), settings.block_bytes_max});
    const auto offer = take<Offer>(group, from);
    if (offer.version != talk_version || offer.bytes != landing.bytes() || offer.block_bytes < 1 ||
        offer.block_bytes > settings.block_bytes_max) {
        return Error{.code = ErrorCode::conflict,
                     .message = fmt::format("rank {} offers {} bytes in blocks of {}, agreed were {}",
                                            from,
                                            offer.bytes,
                                            offer.block_bytes,
                                            landing.bytes())};
    }
    auto result = take_blocks(group, from, landing, offer.block_bytes, settings);
    if (result) {
        result = landing.verify();
    }
    tell(group, from, verdict_of(result, landing.digest()));
    return result ? Result<void>{} : std::move(result).error().within(fmt::format("shipped by rank {}", from));
}

} // namespace

Result<Receipt> receive(Group& group, int from, Landing& landing, const ShipmentSettings& settings, const Pace& pace) {
    const SteadyTime began = pace.clock.steady_now();
    Receipt receipt{.from = from, .to = group.rank(), .bytes = landing.bytes(), .resumed_from = landing.arrived()};
    auto taken = take_cargo(group, from, landing, settings);
    receipt.digest = landing.digest();
    receipt.seconds = std::chrono::duration<double>(pace.clock.steady_now() - began).count();
    const auto others = stand_by(group, from); // Who leaves before ends the group for those who are still served.
    if (!taken || !others) {
        return !taken ? std::move(taken).error() : others.error();
    }
    return receipt;
}

Result<void> stand_by(Group& group, int from) {
    while (true) {
        switch (take<Sign>(group, from)) {
        case Sign::under_way:
            continue;
        case Sign::done:
            return {};
        case Sign::refused:
            return Error{.code = ErrorCode::unavailable,
                         .message = fmt::format("a shipment of rank {} was refused", from)};
        }
        return Error{.code = ErrorCode::unavailable, .message = fmt::format("rank {} talks nonsense", from)};
    }
}

} // namespace muster::shipping
