/// The best ways to split a model over functions, as candidates of a plan.
#pragma once

#include "planner/planner.h"

#include <optional>

namespace muster::planner {

/// Cuts the measured blocks over the candidates (stages.h) and prices the result. The first stage holds the data.
/// Errors: invalid_argument, when the model is no chain, fewer than two functions take part, or one of them has not
/// measured the blocks; unavailable, when no cut fits into memory, with the block and the missing megabytes.
[[nodiscard]] Result<PlanCandidate> best_pipeline(const Question& question);

/// The same with at least two replicas of at least two stages (replicas.h). Members are in the order of replicas, those
/// of a replica in that of its stages: rank = replica * stages + stage, and a replica begins where first_block is 0. A
/// member's batch_rows are those of its replica. Nothing, when there is none, for whatever reason.
[[nodiscard]] std::optional<PlanCandidate> best_replicated_pipeline(const Question& question);

} // namespace muster::planner
