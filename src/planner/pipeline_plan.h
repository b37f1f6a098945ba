/// The best way to split a model over functions, as a candidate of a plan.
#pragma once

#include "planner/planner.h"

namespace muster::planner {

/// Cuts the measured blocks over the candidates (stages.h) and prices the result. The first stage holds the data.
/// Errors: invalid_argument, when the model is no chain, fewer than two functions take part, or one of them has not
/// measured the blocks; unavailable, when no cut fits into memory, with the block and the missing megabytes.
[[nodiscard]] Result<PlanCandidate> best_pipeline(const Question& question);

} // namespace muster::planner
