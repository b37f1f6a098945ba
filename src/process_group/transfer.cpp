#include "process_group/transfer.h"

#include <ATen/core/grad_mode.h>

#include <utility>

namespace muster::process_group {

TransferWork::TransferWork(int rank,
                           OperationSpec spec,
                           std::uint64_t sequence,
                           at::Tensor buffer,
                           std::unique_ptr<collective::Transfer> transfer,
                           std::shared_ptr<OperationQueue> queue)
    : Work{rank, spec.type, spec.title, spec.inputs}, sequence_{sequence}, outputs_{std::move(spec.outputs)},
      buffer_{std::move(buffer)}, transfer_{std::move(transfer)}, queue_{std::move(queue)},
      deadline_{Deadline::after(queue_->timeout())}, limit_{queue_->timeout()} {}

bool TransferWork::claim() {
    const std::scoped_lock lock{mutex_};
    return !std::exchange(claimed_, true);
}

bool TransferWork::isCompleted() {
    if (!claim()) { // somebody moves it, or it is completed
        const std::scoped_lock lock{mutex_};
        return completed_;
    }
    std::exception_ptr failure;
    try {
        if (!transfer_->done()) {
            const std::scoped_lock lock{mutex_};
            claimed_ = false;
            return false;
        }
    } catch (...) { // handed to whoever waits
        failure = std::current_exception();
    }
    complete(failure);
    return true;
}

void TransferWork::perform() {
    if (!claim()) {
        return;
    }
    std::exception_ptr failure;
    try {
        transfer_->wait();
    } catch (...) { // handed to whoever waits
        failure = std::current_exception();
    }
    complete(failure);
}

void TransferWork::complete(const std::exception_ptr& failure) {
    if (failure) {
        queue_->note_failure();
    } else if (opType_ != c10d::OpType::SEND) {
        const at::NoGradGuard no_grad;
        if (!buffer_.is_same(outputs_.front())) {
            outputs_.front().copy_(buffer_);
        }
        const std::scoped_lock lock{mutex_};
        source_ = transfer_->peer();
    }
    finish(failure);
}

bool TransferWork::wait_until(std::optional<Deadline> deadline) {
    const auto executor = queue_->executor();
    if (!deadline || !executor) {
        perform(); // Without a backend nobody else would; the group's time limit bounds it.
    } else if (!isCompleted()) {
        executor->run([self = c10::intrusive_ptr<TransferWork>::reclaim_copy(this)] { self->perform(); });
    }
    std::unique_lock lock{mutex_};
    const auto completed = [this] { return completed_; };
    if (deadline) {
        cv_.wait_until(lock, deadline->at(), completed);
    } else {
        // Bounded: the group ends every transfer at its own time limit, or at once after an abort.
        cv_.wait(lock, completed);
    }
    return completed_;
}

bool TransferWork::wait(std::chrono::milliseconds timeout) {
    if (timeout != kNoTimeout) {
        TORCH_CHECK(wait_until(Deadline::after(timeout)),
                    words(),
                    " has not finished after ",
                    timeout.count(),
                    " ms; it goes on");
    }
    if (limit_.count() > 0 && !wait_until(deadline_)) {
        queue_->group()->abort(c10::str(words(), " has not finished within its timeout of ", limit_.count(), " ms"));
    }
    wait_until(std::nullopt);
    const std::scoped_lock lock{mutex_};
    if (exception_) {
        std::rethrow_exception(exception_);
    }
    return true;
}

void TransferWork::abort() {
    queue_->group()->abort(words() + " was aborted");
}

int TransferWork::sourceRank() const {
    const std::scoped_lock lock{mutex_};
    return source_;
}

std::string TransferWork::words() const {
    return c10::str("rank ", rank_, ": ", c10d::opTypeToString(opType_), " number ", sequence_);
}

void Mover::push(c10::intrusive_ptr<TransferWork> work) {
    const auto executor = executor_.lock();
    TORCH_CHECK(executor, "Backend muster was shut down");
    const std::scoped_lock lock{mutex_};
    works_.push_back(std::move(work));
    if (!running_) {
        running_ = true;
        executor->run([self = shared_from_this()] { self->drain(); });
    }
}

void Mover::close() {
    std::unique_lock lock{mutex_};
    if (runner_ != std::this_thread::get_id()) {
        // Bounded: each transfer ends at the group's time limit.
        drained_.wait(lock, [this] { return !running_; });
    }
}

void Mover::drain() {
    std::unique_lock lock{mutex_};
    runner_ = std::this_thread::get_id();
    while (!works_.empty()) {
        auto work = std::move(works_.front());
        works_.pop_front();
        lock.unlock();
        work->perform();
        work.reset(); // what it owns may take the lock
        lock.lock();
    }
    runner_ = {};
    running_ = false;
    drained_.notify_all();
}

} // namespace muster::process_group
