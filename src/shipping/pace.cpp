#include "shipping/pace.h"

#include "base/assert.h"

#include <algorithm>
#include <thread>

namespace muster::shipping {

TokenBucket::TokenBucket(std::int64_t bytes_per_second, std::int64_t burst_bytes, const Clock& clock)
    : rate_{bytes_per_second}, burst_{static_cast<double>(burst_bytes)}, tokens_{burst_}, clock_{&clock},
      filled_{clock.steady_now()} {
    MUSTER_ASSERT(bytes_per_second >= 0 && burst_bytes >= 0);
}

Duration TokenBucket::take(std::int64_t bytes) {
    if (rate_ == 0) {
        return Duration::zero();
    }
    const SteadyTime now = clock_->steady_now();
    const std::chrono::duration<double> passed = now - filled_;
    filled_ = now;
    tokens_ = std::min(burst_, tokens_ + passed.count() * static_cast<double>(rate_)) - static_cast<double>(bytes);
    if (tokens_ >= 0) {
        return Duration::zero();
    }
    return std::chrono::ceil<Duration>(std::chrono::duration<double>{-tokens_ / static_cast<double>(rate_)});
}

const Pace& system_pace() {
    static const SystemClock clock;
    static const Pace pace{clock, [](Duration wait) { std::this_thread::sleep_for(wait); }};
    return pace;
}

} // namespace muster::shipping
