/// JobIntake: how writes of consumers reach the loop.
#pragma once

#include "producer/job.h"

#include <cstddef>

namespace muster::producer {

/// Who works on the jobs. Safe from any thread.
class JobIntake {
public:
    virtual ~JobIntake() = default;
    /// A request and its job were committed.
    virtual void submitted(Job job) = 0;
    /// A request, process or function was written: look again.
    virtual void changed() = 0;
    /// Jobs that have not ended.
    [[nodiscard]] virtual std::size_t unfinished() const = 0;
};

} // namespace muster::producer
