/// Optimizer state that is cut over the members by shares of their own, apart from their shares of the rows.
/// Source: ZeRO stage 1 (Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
/// SC 2020), with unequal parts (reference algorithms 1.6).
#pragma once

#include "model/recipe.h"
#include "worker/engine.h"
#include "worker/optimizer.h"
#include "worker/ranks.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace muster::worker {

/// Elements of each rank, in rank order, when `elements` are cut by `shares`, which add up to 1: each within one of its
/// share.
[[nodiscard]] std::vector<std::int64_t> shard_sizes(std::int64_t elements, std::span<const double> shares);

/// Makes steps in which every rank updates its part of the parameters only. Gradients are reduced to whom they belong
/// while backward runs, and the parameters gathered after the update; together that is the traffic of one all-reduce.
/// Each bucket of gradients is cut by the shares, not the model as a whole: so all ranks send and receive all the time.
/// Steps change parameters as Optimizer does with the whole gradient. One thread, the same steps on every rank.
class ShardedState {
public:
    /// `shares` has the part of the state that each rank keeps, 0 to 1, adding up to 1. `ranks` outlives it and is not
    /// alone.
    ShardedState(const RecipeOptimizer& settings,
                 std::vector<at::Tensor> parameters,
                 Ranks& ranks,
                 std::vector<double> shares,
                 std::int64_t steps);
    /// Parameters share memory from the first step on; each gets its own back.
    ~ShardedState();
    ShardedState(const ShardedState&) = delete;
    ShardedState& operator=(const ShardedState&) = delete;

    /// Finds the order in which backward reaches the parameters, from a backward pass of `loss` over no rows. Needed
    /// once, before the first step; gradients must be dropped afterwards.
    void rehearse(const std::function<at::Tensor()>& loss);
    [[nodiscard]] bool rehearsed() const;

    /// Makes a step with this rank's part of the loss, which `loss` computes. compute_seconds is left to the caller.
    /// Throws what the group throws.
    [[nodiscard]] StepOutcome step(const std::function<at::Tensor()>& loss, bool stop_wanted);

    /// Bytes of this rank's optimizer state; 0 before the first step.
    [[nodiscard]] std::int64_t state_bytes() const;

private:
    struct Reduction;
    void lay_out();
    void update();
    void gather();

    RecipeOptimizer settings_;
    Ranks& ranks_;
    std::int64_t steps_;
    std::unique_ptr<Reduction> reduction_;
    std::unique_ptr<Optimizer> optimizer_; ///< of the own parts; null before the first step
};

} // namespace muster::worker
