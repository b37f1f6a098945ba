/// ReplicaSum: replicas of a stage, which saw other rows of a batch, add up their gradients.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstddef>
#include <vector>

namespace muster::worker {

/// The group of the ranks that hold one stage: `rank` of every `stages`. One thread, the training thread, the same
/// calls at all of them. Nothing is done where there is one replica.
class ReplicaSum {
public:
    /// `group` is that of all ranks, replicas one after the other; its size is a multiple of `stages`.
    ReplicaSum(const c10::intrusive_ptr<c10d::ProcessGroup>& group, std::size_t stages);

    /// Sums the gradients of `parameters` over the replicas, in place. One that is undefined, where a replica had no
    /// rows, counts as zero. Throws what the group throws.
    void sum_gradients(const std::vector<at::Tensor>& parameters);

private:
    c10::intrusive_ptr<c10d::Backend> replicas_; ///< null: one replica
};

} // namespace muster::worker
