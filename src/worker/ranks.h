/// Ranks: the members of a training as seen by one of them. One function alone is a group of one without c10d.
#pragma once

#include "base/clock.h"
#include "worker/sampler.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstdint>
#include <vector>

namespace muster::worker {

/// Collective operations with their waits counted, and the cut of work by shares. Used by one thread, the training
/// thread, in the same order on every rank. Each operation throws what the group throws.
class Ranks {
public:
    /// `group` may be null: one function. `shares` has the rows of a full global batch for each rank.
    Ranks(c10::intrusive_ptr<c10d::ProcessGroup> group, std::vector<std::int64_t> shares);

    [[nodiscard]] std::size_t rank() const { return rank_; }
    [[nodiscard]] std::size_t size() const { return shares_.size(); }
    [[nodiscard]] bool alone() const { return !group_; }
    /// The sum of all shares.
    [[nodiscard]] std::int64_t batch() const { return batch_; }
    [[nodiscard]] const std::vector<std::int64_t>& shares() const { return shares_; }
    [[nodiscard]] const c10::intrusive_ptr<c10d::ProcessGroup>& group() const { return group_; }

    /// This rank's part of an interval of work.
    [[nodiscard]] Interval own_part(Interval whole) const { return part_of(whole, shares_, rank_); }

    /// Sums a contiguous tensor over all ranks, in place.
    void sum(at::Tensor tensor);
    /// Takes the largest of each element over all ranks, in place.
    void largest(at::Tensor tensor);
    /// Copies rank 0's tensors to all ranks, which are of one number type, in one message.
    void copy_from_first(const std::vector<at::Tensor>& tensors);
    /// Says whether all ranks pass the same numbers.
    [[nodiscard]] bool agree(const std::vector<std::int64_t>& numbers);

    /// Time this rank was blocked in collectives, seconds since construction.
    [[nodiscard]] double wait_seconds() const { return wait_seconds_; }
    void add_wait(double seconds) { wait_seconds_ += seconds; }

private:
    void reduce(at::Tensor& tensor, c10d::ReduceOp::RedOpType operation);

    c10::intrusive_ptr<c10d::ProcessGroup> group_;
    std::vector<std::int64_t> shares_;
    std::size_t rank_{0};
    std::int64_t batch_{0};
    double wait_seconds_{0.0};
};

/// Seconds between two moments.
[[nodiscard]] inline double seconds_between(SteadyTime from, SteadyTime to) {
    return std::chrono::duration<double>(to - from).count();
}

} // namespace muster::worker
