/// Cutting a model that is a chain of blocks into stages for unequal functions (pipeline parallelism, 1F1B).
/// Source: reference algorithms 1.5 (dynamic programme), 1.2 (memory of 1F1B, time of fill, steady part and drain).
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::planner {

/// One block of the chain; times and sizes are of one micro-batch.
struct ChainBlock {
    std::string name;                ///< as the model calls it, for refusals
    double seconds{};                ///< forward and backward at speed 1
    std::int64_t state_bytes{};      ///< weights, gradients and optimizer state
    std::int64_t activation_bytes{}; ///< kept from forward to backward
    std::int64_t input_bytes{};      ///< what it gets from the block before it, and returns the gradient of
};

/// A function that may hold a stage.
struct StageFunction {
    double speed{1.0};           ///< above 0; 2: takes half of a block's seconds
    std::int64_t memory_bytes{}; ///< it offers; 0: no limit known
    std::int64_t base_bytes{};   ///< its process takes without any block
    double bytes_per_second{};   ///< of its link; 0: not measured, which counts as free
    bool may_be_first{true};     ///< it holds the rows, which the first block takes
};

/// A run of blocks on one function.
struct Stage {
    std::size_t function{};
    std::size_t begin{}; ///< first block
    std::size_t end{};   ///< past the last one
    double seconds{};    ///< of one micro-batch, passing on what it computed included
    std::int64_t memory_bytes{};
    bool recompute{}; ///< keeps a micro-batch's input only and runs forward again before backward

    bool operator==(const Stage&) const = default;
};

/// A way to cut.
struct Cut {
    std::vector<Stage> stages{}; ///< in the order of the chain
    double step_seconds{};       ///< all micro-batches: every stage once, then the slowest one for each further one
};

/// Cuts `blocks` over `functions` in their order, some of which may stay unused, so that the slowest stage is as fast
/// as memory allows; among equals the shorter way through all stages wins. A stage recomputes where it would not fit
/// otherwise, and the first one is at a function that may be first. O(L^2 S^2) for L blocks and S functions.
/// Errors: invalid_argument, for no block, no function or no micro-batch; unavailable, when no cut fits: a block that
/// alone exceeds every function that may hold it is named with the smallest memory that would do.
[[nodiscard]] Result<Cut>
cut_in_order(std::span<const ChainBlock> blocks, std::span<const StageFunction> functions, int micro_batches);

/// The same with the best order of functions: all orders of up to six, else improved by exchanges from memory order.
/// At least `stages_min` stages: 2 for those who ask for a split even where one function would do.
[[nodiscard]] Result<Cut> cut(std::span<const ChainBlock> blocks,
                              std::span<const StageFunction> functions,
                              int micro_batches,
                              std::size_t stages_min = 1);

} // namespace muster::planner
