/// Cutting a model that is a chain of blocks into stages for unequal functions (pipeline parallelism, 1F1B).
/// Source: reference algorithms 1.5 (dynamic programme), 1.2 (time of fill, steady part and drain).
#pragma once

#include "base/result.h"
#include "planner/chain.h"

#include <cstddef>
#include <span>
#include <vector>

namespace muster::planner {

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
