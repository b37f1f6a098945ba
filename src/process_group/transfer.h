/// Sends and receives as c10d waits for them.
#pragma once

#include "base/clock.h"
#include "process_group/operation.h"

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace muster::process_group {

/// One send or receive. Whoever waits for it without a time limit moves it, in their own thread.
class TransferWork final : public c10d::Work {
public:
    /// `buffer` is what travels, contiguous; a receive is copied from there to `tensor` when they differ.
    TransferWork(int rank,
                 OperationSpec spec,
                 std::uint64_t sequence,
                 at::Tensor buffer,
                 std::unique_ptr<collective::Transfer> transfer,
                 std::shared_ptr<OperationQueue> queue);

    bool isCompleted() override;
    /// Waits without looking for a failure. False, when the deadline passed; then the transfer goes on, moved by a
    /// thread of the executor.
    bool wait_until(std::optional<Deadline> deadline);
    bool wait(std::chrono::milliseconds timeout) override;
    void abort() override;
    [[nodiscard]] int sourceRank() const override;
    Tensors result() override { return outputs_; }
    uint64_t getSequencenumber() const override { return sequence_; }

    /// Waits for the transfer and completes this work, unless somebody does already.
    void perform();

private:
    [[nodiscard]] bool claim();
    void complete(const std::exception_ptr& failure);
    [[nodiscard]] std::string words() const;

    std::uint64_t sequence_;
    Tensors outputs_;
    at::Tensor buffer_;
    std::unique_ptr<collective::Transfer> transfer_;
    std::shared_ptr<OperationQueue> queue_;
    Deadline deadline_;
    std::chrono::milliseconds limit_;
    bool claimed_{false}; ///< under mutex_
    int source_{-1};      ///< under mutex_
};

/// Moves sends that nobody waits for, the oldest first, with one thread at a time; so that a send makes progress while
/// its rank computes, and is not lost when its Work is dropped.
class Mover : public std::enable_shared_from_this<Mover> {
public:
    /// As OperationQueue does not own its executor, neither does this.
    explicit Mover(std::weak_ptr<Executor> executor) : executor_{std::move(executor)} {}
    /// Throws c10::Error once the backend is gone.
    void push(c10::intrusive_ptr<TransferWork> work);
    /// Waits until nothing is left to move.
    void close();

private:
    void drain();

    std::weak_ptr<Executor> executor_;
    std::mutex mutex_{};
    std::condition_variable drained_{};
    std::deque<c10::intrusive_ptr<TransferWork>> works_{};
    bool running_{false};
    std::thread::id runner_{};
};

} // namespace muster::process_group
