/// A c10d group among the threads of a test: collectives meet in shared memory. Tests only.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::worker {

/// Where the threads of a TestingBackend meet.
class TestingMeeting {
public:
    explicit TestingMeeting(int size) : tensors_(static_cast<std::size_t>(size)) {}

    /// Leaves `tensor`; the last to come runs `combine` on all of them; then everybody gets the result.
    at::Tensor
    meet(int rank, const at::Tensor& tensor, const std::function<at::Tensor(std::vector<at::Tensor>&)>& combine) {
        std::unique_lock lock{mutex_};
        tensors_[static_cast<std::size_t>(rank)] = tensor;
        const std::size_t round = round_;
        if (++arrived_ == tensors_.size()) {
            result_ = combine(tensors_);
            arrived_ = 0;
            ++round_;
            changed_.notify_all();
        } else if (!changed_.wait_for(lock, std::chrono::seconds{60}, [&] { return round_ != round || broken_; }) ||
                   round_ == round) {
            broken_ = true;
            changed_.notify_all();
            throw std::runtime_error{"a rank of the test did not come"};
        }
        return result_.clone();
    }

    /// Ends all waits: a rank has failed.
    void fail() {
        const std::lock_guard lock{mutex_};
        broken_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<at::Tensor> tensors_;
    at::Tensor result_;
    std::size_t arrived_{0};
    std::size_t round_{0};
    bool broken_{false};
};

class TestingWork final : public c10d::Work {
public:
    explicit TestingWork(std::vector<at::Tensor> tensors)
        : future_{c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))} {
        future_->markCompleted(c10::IValue(std::move(tensors)));
        finish();
    }
    c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

private:
    c10::intrusive_ptr<c10::ivalue::Future> future_;
};

class TestingBackend final : public c10d::Backend {
public:
    TestingBackend(TestingMeeting& meeting, int rank, int size) : Backend{rank, size}, meeting_{meeting} {}

    c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                             const c10d::AllreduceOptions& options) override {
        return each(tensors, [&](std::vector<at::Tensor>& all) {
            at::Tensor result = all[0].clone();
            for (std::size_t i = 1; i < all.size(); ++i) {
                result = options.reduceOp == c10d::ReduceOp::MAX ? at::maximum(result, all[i]) : result + all[i];
            }
            return result;
        });
    }
    c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                             const c10d::BroadcastOptions& options) override {
        return each(tensors, [&](std::vector<at::Tensor>& all) {
            return all[static_cast<std::size_t>(options.rootRank)].clone();
        });
    }
    const std::string getBackendName() const override { return "testing"; }

private:
    template <typename Combine>
    c10::intrusive_ptr<c10d::Work> each(std::vector<at::Tensor>& tensors, Combine combine) {
        const at::NoGradGuard no_grad;
        for (at::Tensor& tensor : tensors) {
            tensor.copy_(meeting_.meet(getRank(), tensor, combine));
        }
        return c10::make_intrusive<TestingWork>(tensors);
    }

    TestingMeeting& meeting_;
};

/// Runs `body(group)` for each rank in a thread of its own; the first exception is thrown here.
inline void run_ranks(int size, const std::function<void(c10::intrusive_ptr<c10d::ProcessGroup>)>& body) {
    TestingMeeting meeting{size};
    std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
    {
        std::vector<std::jthread> threads;
        for (int rank = 0; rank < size; ++rank) {
            threads.emplace_back([&, rank] {
                try {
                    auto store = c10::make_intrusive<c10d::HashStore>();
                    auto group = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
                    group->setBackend(c10::DeviceType::CPU,
                                      c10d::ProcessGroup::BackendType::CUSTOM,
                                      c10::make_intrusive<TestingBackend>(meeting, rank, size));
                    group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
                    body(group);
                } catch (...) {
                    failures[static_cast<std::size_t>(rank)] = std::current_exception();
                    meeting.fail();
                }
            });
        }
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

} // namespace muster::worker
