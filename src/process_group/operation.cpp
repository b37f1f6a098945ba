#include "process_group/operation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/jit_type.h>

#include <thread>

namespace muster::process_group {

Operation::Operation(int rank,
                     OperationSpec spec,
                     std::uint64_t sequence,
                     std::chrono::milliseconds limit,
                     std::shared_ptr<collective::Group> group)
    : Work{rank, spec.type, spec.title, spec.inputs}, sequence_{sequence}, outputs_{std::move(spec.outputs)},
      limit_{limit}, deadline_{Deadline::after(limit)}, group_{std::move(group)},
      future_{c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))} {}

void Operation::complete(const std::exception_ptr& failure) {
    // The profiler's record ends before anybody can see that the operation has ended.
    if (recordFunctionEndCallback_) {
        recordFunctionEndCallback_();
        recordFunctionEndCallback_ = nullptr;
    }
    // The future first: whoever returns from wait() may ask it.
    if (failure) {
        future_->setError(failure);
    } else {
        future_->markCompleted(c10::IValue{outputs_});
    }
    finish(failure);
}

bool Operation::wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock{mutex_};
    const auto completed = [this] { return completed_; };
    if (timeout != kNoTimeout && !cv_.wait_for(lock, timeout, completed)) {
        TORCH_CHECK(false, words(), " has not finished after ", timeout.count(), " ms; it goes on");
    }
    if (limit_.count() > 0 && !cv_.wait_until(lock, deadline_.at(), completed)) {
        const auto reason = c10::str(words(), " has not finished within its timeout of ", limit_.count(), " ms");
        lock.unlock(); // the abort completes this operation, which takes the lock
        group_->abort(reason);
        lock.lock();
    }
    // Bounded: the group ends every operation at its own time limit, or at once after an abort.
    cv_.wait(lock, completed);
    if (exception_) {
        std::rethrow_exception(exception_);
    }
    return true;
}

void Operation::abort() {
    group_->abort(words() + " was aborted");
}

std::string Operation::words() const {
    return c10::str("rank ", rank_, ": ", c10d::opTypeToString(opType_), " number ", sequence_);
}

OperationQueue::OperationQueue(std::shared_ptr<collective::Group> group, std::weak_ptr<Executor> executor)
    : group_{std::move(group)}, executor_{std::move(executor)} {}

c10::intrusive_ptr<c10d::Work> OperationQueue::push(OperationSpec spec, Action action) {
    const auto longest = limit(spec.timeout);
    const auto executor = executor_.lock();
    const std::scoped_lock lock{mutex_};
    TORCH_CHECK(!closed_ && executor, "Backend muster was shut down");
    auto work = c10::make_intrusive<Operation>(group_->rank(), std::move(spec), sequence_++, longest, group_);
    entries_.push_back({work, std::move(action)});
    if (!running_) {
        running_ = true;
        executor->run([self = shared_from_this()] { self->drain(); });
    }
    return work;
}

std::uint64_t OperationQueue::next_sequence() {
    const std::scoped_lock lock{mutex_};
    TORCH_CHECK(!closed_, "Backend muster was shut down");
    return sequence_++;
}

void OperationQueue::close() {
    std::unique_lock lock{mutex_};
    closed_ = true;
    if (runner_ != std::this_thread::get_id()) {
        // Bounded: each operation ends at the group's time limit.
        drained_.wait(lock, [this] { return !running_; });
    }
}

std::chrono::milliseconds OperationQueue::limit(std::chrono::milliseconds asked) const {
    return asked.count() > 0 ? asked : timeout();
}

std::uint64_t OperationQueue::sequence() {
    const std::scoped_lock lock{mutex_};
    return sequence_;
}

bool OperationQueue::closed() {
    const std::scoped_lock lock{mutex_};
    return closed_;
}

void OperationQueue::drain() {
    const at::NoGradGuard no_grad;
    std::unique_lock lock{mutex_};
    runner_ = std::this_thread::get_id();
    while (!entries_.empty()) {
        auto entry = std::move(entries_.front());
        entries_.pop_front();
        lock.unlock();
        perform(std::move(entry));
        lock.lock();
    }
    runner_ = {};
    running_ = false;
    drained_.notify_all();
}

void OperationQueue::perform(Entry entry) {
    std::exception_ptr failure;
    try {
        entry.action(*group_);
    } catch (...) { // handed to whoever waits for the operation
        failure = std::current_exception();
        failed_ = true;
    }
    entry.action = nullptr;
    entry.work->complete(failure);
}

} // namespace muster::process_group
