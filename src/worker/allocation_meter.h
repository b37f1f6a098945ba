/// Counts the bytes of tensors that a thread takes and gives back.
#pragma once

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace muster::worker {

/// Counts from its construction to its end, on the calling thread and within backward passes that it runs. Tensors
/// freed meanwhile count even when they are older. One at a time on a thread.
class AllocationMeter {
public:
    AllocationMeter();
    ~AllocationMeter();
    AllocationMeter(const AllocationMeter&) = delete;
    AllocationMeter& operator=(const AllocationMeter&) = delete;

    /// Bytes taken and not given back since construction; negative, when more was given back.
    [[nodiscard]] std::int64_t bytes() const;
    /// The largest that bytes() was since construction or the last restart_peak().
    [[nodiscard]] std::int64_t peak_bytes() const;
    void restart_peak();

private:
    struct Counter;
    std::shared_ptr<Counter> counter_;
    c10::DebugInfoGuard guard_;
};

} // namespace muster::worker
