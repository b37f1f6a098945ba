#include "worker/allocation_meter.h"

#include <c10/core/Allocator.h>

#include <algorithm>

namespace muster::worker {

struct AllocationMeter::Counter : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void* /*where*/,
                           std::int64_t bytes,
                           std::size_t /*allocated*/,
                           std::size_t /*reserved*/,
                           c10::Device /*device*/) override {
        now += bytes;
        peak = std::max(peak, now);
    }
    [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }

    std::int64_t now{0};
    std::int64_t peak{0};
};

AllocationMeter::AllocationMeter()
    : counter_{std::make_shared<Counter>()}, guard_{c10::DebugInfoKind::PROFILER_STATE, counter_} {}

AllocationMeter::~AllocationMeter() = default;

std::int64_t AllocationMeter::bytes() const {
    return counter_->now;
}

std::int64_t AllocationMeter::peak_bytes() const {
    return counter_->peak;
}

void AllocationMeter::restart_peak() {
    counter_->peak = counter_->now;
}

} // namespace muster::worker
