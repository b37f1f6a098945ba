#include "base/clock.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace muster {
namespace {
// A fixed start makes records of tests reproducible: 2026-01-01T00:00:00Z.
constexpr std::chrono::seconds manual_epoch{1'767'225'600};
} // namespace

WallTime ManualClock::wall_now() const {
    return WallTime{std::chrono::duration_cast<WallTime::duration>(manual_epoch) +
                    std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds{elapsed_ns_.load()})};
}

SteadyTime ManualClock::steady_now() const {
    return SteadyTime{manual_epoch + std::chrono::nanoseconds{elapsed_ns_.load()}};
}

void ManualClock::advance(Duration by) {
    elapsed_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(by).count();
}

Duration Deadline::left() const {
    return std::max(Duration::zero(), at_ - std::chrono::steady_clock::now());
}

int Deadline::left_ms() const {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left()).count();
    return static_cast<int>(std::min<long long>(ms, 3'600'000));
}

std::string rfc3339(WallTime time) {
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
    const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(since).count();
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                       parts.tm_year + 1900,
                       parts.tm_mon + 1,
                       parts.tm_mday,
                       parts.tm_hour,
                       parts.tm_min,
                       parts.tm_sec,
                       (since - std::chrono::floor<std::chrono::seconds>(since)).count());
}

} // namespace muster
