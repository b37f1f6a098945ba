/// How fast bytes may leave: a token bucket over an injected clock.
#pragma once

#include "base/clock.h"

#include <cstdint>
#include <functional>

namespace muster::shipping {

/// Lets bytes leave at a steady rate on average. A bucket of `burst_bytes` is full at first and fills at the rate; who
/// takes more than it holds waits until the debt is paid, so a block larger than the bucket is possible. One thread.
class TokenBucket {
public:
    /// `bytes_per_second` 0: no limit. `clock` outlives the bucket. REQUIRES: neither is negative.
    TokenBucket(std::int64_t bytes_per_second, std::int64_t burst_bytes, const Clock& clock);

    /// Takes `bytes` and returns how long to wait before they may leave.
    [[nodiscard]] Duration take(std::int64_t bytes);
    [[nodiscard]] std::int64_t bytes_per_second() const { return rate_; }

private:
    std::int64_t rate_;
    double burst_;
    double tokens_;
    const Clock* clock_;
    SteadyTime filled_;
};

/// Time as a shipment sees it. Both outlive what is given one.
struct Pace {
    const Clock& clock;
    std::function<void(Duration)> sleep; ///< returns after about so long; of a test, at once
};

/// The machine's clock, and a thread that sleeps.
[[nodiscard]] const Pace& system_pace();

} // namespace muster::shipping
