/// Two clocks, injected: wall time for people and records, steady time for leases and deadlines.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace muster {

using Duration = std::chrono::steady_clock::duration;
using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

/// The source of time. Safe from any thread.
class Clock {
public:
    virtual ~Clock() = default;
    /// Time for records and people; may jump.
    [[nodiscard]] virtual WallTime wall_now() const = 0;
    /// Time for intervals; never goes back.
    [[nodiscard]] virtual SteadyTime steady_now() const = 0;
};

/// The machine's clocks.
class SystemClock final : public Clock {
public:
    [[nodiscard]] WallTime wall_now() const override { return std::chrono::system_clock::now(); }
    [[nodiscard]] SteadyTime steady_now() const override { return std::chrono::steady_clock::now(); }
};

/// A clock that waits to be told: a lease of an hour is tested in a microsecond.
class ManualClock final : public Clock {
public:
    [[nodiscard]] WallTime wall_now() const override;
    [[nodiscard]] SteadyTime steady_now() const override;
    /// Moves both clocks forward.
    void advance(Duration by);

private:
    std::atomic<std::int64_t> elapsed_ns_{0};
};

/// The moment until which a call may wait, on the real steady clock.
class Deadline {
public:
    explicit Deadline(SteadyTime at) : at_{at} {}
    [[nodiscard]] static Deadline after(Duration wait) { return Deadline{std::chrono::steady_clock::now() + wait}; }
    [[nodiscard]] SteadyTime at() const { return at_; }
    [[nodiscard]] bool passed() const { return std::chrono::steady_clock::now() >= at_; }
    /// Time left, never negative.
    [[nodiscard]] Duration left() const;
    /// Time left in whole milliseconds, rounded up, for poll(); 0 when passed.
    [[nodiscard]] int left_ms() const;

private:
    SteadyTime at_;
};

/// Formats as RFC 3339 in UTC with milliseconds, e.g. "2026-11-22T10:58:03.120Z".
[[nodiscard]] std::string rfc3339(WallTime time);

} // namespace muster
