/// A model that is split, and held several times: replicas with the same cut, each with its own rows of a batch
/// (pipeline and data parallelism together). Source: reference algorithms 1.2, 1.3, 1.5; after HetPipe (ATC 2020),
/// whose virtual workers these are, with synchronous sums.
#pragma once

#include "planner/chain.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace muster::planner {

/// What is to be cut, and over whom. What the spans are of outlives it.
struct ReplicaTask {
    std::span<const ChainBlock> blocks;
    std::span<const StageFunction> functions;
    std::int64_t batch{};      ///< rows, above 0
    std::int64_t micro_rows{}; ///< of a micro-batch, above 0; a replica's last one may be smaller
    /// Seconds that functions, by position, take to add up the gradients of blocks begin to end - 1.
    std::function<double(std::span<const std::size_t> functions, std::size_t begin, std::size_t end)> sum_seconds;
};

/// One copy of the model.
struct Replica {
    std::vector<Stage> stages{}; ///< in the order of the chain
    std::int64_t rows{};         ///< of each batch, at least 1
    double micro_batches{};      ///< that these rows are: a part of one counts as a part, fewer than one as one
    double seconds{};            ///< of a step before gradients are summed
};

/// All of them. Equal stages have equal blocks; whether one recomputes may differ.
struct ReplicatedCut {
    std::vector<Replica> replicas{};
    double step_seconds{}; ///< the slowest replica, then the slowest sum
};

/// The fastest way found to hold the model `replicas` times in `stages` stages, each at a function of its own, the
/// first ones at functions that may be first. Rows are shared so that the slowest replica is as fast as it can be. All
/// arrangements of up to six functions are tried, else those near two that put functions of like memory or like speed
/// at the same stage; of each the cut is best for the replicas' parts of the rows as they come out.
/// Nothing, when none fits into memory, or a replica would get no row. REQUIRES: both numbers are at least 1.
[[nodiscard]] std::optional<ReplicatedCut>
cut_replicated(const ReplicaTask& task, std::size_t replicas, std::size_t stages);

} // namespace muster::planner
