/// What c10d waits for, and the queue that runs it.
#pragma once

#include "base/clock.h"
#include "collective/group.h"
#include "process_group/executor.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::process_group {

using Tensors = std::vector<at::Tensor>;

/// What an operation is, apart from what it does.
struct OperationSpec {
    c10d::OpType type{};
    const char* title{}; ///< for the profiler, e.g. "muster:all_reduce"
    Tensors inputs{};    ///< for the profiler
    Tensors outputs{};   ///< what its future holds
    std::chrono::milliseconds timeout{c10d::kUnsetTimeout};
};

/// One collective. Its future is of type List[Tensor] (the outputs).
class Operation final : public c10d::Work {
public:
    Operation(int rank,
              OperationSpec spec,
              std::uint64_t sequence,
              std::chrono::milliseconds limit,
              std::shared_ptr<collective::Group> group);

    void complete(const std::exception_ptr& failure);

    bool wait(std::chrono::milliseconds timeout) override;
    void abort() override;
    Tensors result() override { return outputs_; }
    uint64_t getSequencenumber() const override { return sequence_; }
    c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

private:
    [[nodiscard]] std::string words() const;

    std::uint64_t sequence_;
    Tensors outputs_;
    std::chrono::milliseconds limit_; ///< 0: only the group's
    Deadline deadline_;
    std::shared_ptr<collective::Group> group_;
    c10::intrusive_ptr<c10::ivalue::Future> future_;
};

/// The operations of one group in the order in which they were asked for, one at a time, on the executor's threads.
/// It shares the ownership of itself with the running operation, because a future's callback may drop the last
/// reference to the backend on that very thread. Safe from any thread.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
public:
    using Action = std::function<void(collective::Group&)>;

    /// The executor is the backend's, which waits for its threads: a queue that the last operation still holds must not
    /// end it on one of them.
    OperationQueue(std::shared_ptr<collective::Group> group, std::weak_ptr<Executor> executor);

    /// Throws c10::Error after close().
    c10::intrusive_ptr<c10d::Work> push(OperationSpec spec, Action action);
    /// Counts an operation that does not go through the queue.
    std::uint64_t next_sequence();
    /// Refuses further operations, and waits for those that were asked for unless called by one of them.
    void close();

    void set_timeout(std::chrono::milliseconds timeout) { timeout_ms_ = std::max<std::int64_t>(0, timeout.count()); }
    [[nodiscard]] std::chrono::milliseconds timeout() const { return std::chrono::milliseconds{timeout_ms_.load()}; }
    /// `asked` when it is a limit, else the queue's own.
    [[nodiscard]] std::chrono::milliseconds limit(std::chrono::milliseconds asked) const;
    void note_failure() { failed_ = true; }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] const std::shared_ptr<collective::Group>& group() const { return group_; }
    /// Null once the backend is gone.
    [[nodiscard]] std::shared_ptr<Executor> executor() const { return executor_.lock(); }
    [[nodiscard]] std::uint64_t sequence();
    [[nodiscard]] bool closed();

private:
    struct Entry {
        c10::intrusive_ptr<Operation> work;
        Action action;
    };

    void drain();
    void perform(Entry entry);

    std::shared_ptr<collective::Group> group_;
    std::weak_ptr<Executor> executor_;
    std::mutex mutex_{};
    std::condition_variable drained_{};
    std::deque<Entry> entries_{};
    std::uint64_t sequence_{0};
    bool closed_{false};
    bool running_{false};
    std::thread::id runner_{};
    std::atomic<bool> failed_{false};
    std::atomic<std::int64_t> timeout_ms_{0};
};

} // namespace muster::process_group
