#include "worker/ranks.h"

#include "base/assert.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <numeric>

namespace muster::worker {

Ranks::Ranks(c10::intrusive_ptr<c10d::ProcessGroup> group, std::vector<std::int64_t> shares)
    : group_{std::move(group)}, shares_{std::move(shares)} {
    if (group_) {
        rank_ = static_cast<std::size_t>(group_->getRank());
        MUSTER_ASSERT(static_cast<std::size_t>(group_->getSize()) == shares_.size());
    } else {
        MUSTER_ASSERT(shares_.size() == 1);
    }
    batch_ = std::accumulate(shares_.begin(), shares_.end(), std::int64_t{0});
}

void Ranks::reduce(at::Tensor& tensor, c10d::ReduceOp::RedOpType operation) {
    if (alone()) {
        return;
    }
    const SteadyTime begin = std::chrono::steady_clock::now();
    std::vector<at::Tensor> tensors{tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = operation;
    group_->allreduce(tensors, options)->wait();
    add_wait(seconds_between(begin, std::chrono::steady_clock::now()));
}

void Ranks::sum(at::Tensor tensor) {
    reduce(tensor, c10d::ReduceOp::SUM);
}

void Ranks::largest(at::Tensor tensor) {
    reduce(tensor, c10d::ReduceOp::MAX);
}

void Ranks::copy_from_first(const std::vector<at::Tensor>& tensors) {
    if (alone() || tensors.empty()) {
        return;
    }
    const c10::AutoGradMode no_grad{false};
    std::vector<at::Tensor> flat;
    for (const at::Tensor& tensor : tensors) {
        flat.push_back(tensor.reshape({-1}));
    }
    std::vector<at::Tensor> message{at::cat(flat)};
    c10d::BroadcastOptions options;
    options.rootRank = 0;
    const SteadyTime begin = std::chrono::steady_clock::now();
    group_->broadcast(message, options)->wait();
    add_wait(seconds_between(begin, std::chrono::steady_clock::now()));
    std::int64_t offset = 0;
    for (const at::Tensor& tensor : tensors) {
        tensor.copy_(message[0].narrow(0, offset, tensor.numel()).view_as(tensor));
        offset += tensor.numel();
    }
}

bool Ranks::agree(const std::vector<std::int64_t>& numbers) {
    // The largest of x and of -x: equal only when every rank has the same x.
    const at::Tensor own = at::tensor(numbers, at::kLong);
    at::Tensor both = at::cat({own, own.neg()});
    largest(both);
    return both.equal(at::cat({own, own.neg()}));
}

} // namespace muster::worker
