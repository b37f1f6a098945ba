/// Executor: threads that come when there is work and go when there is none.
#pragma once

#include "base/clock.h"

#include <cstddef>
#include <functional>
#include <memory>

namespace muster::process_group {

/// Runs tasks at once, each on a thread of its own: an idle one, or a new one when all are busy, because tasks wait for
/// peers and must not wait for each other. So there are as many threads as tasks at the busiest moment of late.
/// Safe from any thread.
class Executor {
public:
    /// A thread that was idle for `idle_max` ends.
    explicit Executor(Duration idle_max = std::chrono::seconds{30});
    /// Waits for all tasks, except when a task itself lets go of the executor: that one's thread ends after it.
    ~Executor();
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;

    /// Takes a task that does not throw.
    void run(std::function<void()> task);
    /// Threads that exist now.
    [[nodiscard]] std::size_t threads() const;
    /// Those of them that wait for a task.
    [[nodiscard]] std::size_t idle_threads() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace muster::process_group
