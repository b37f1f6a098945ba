/// The ways to train that share rows: one function, or several with a part of each batch.
/// Source: reference algorithms 1.4 (subset selection), 1.8 (is distribution needed).
#pragma once

#include "planner/planner.h"

#include <optional>

namespace muster::planner {

/// The fastest function for all rows; nothing, when they fit none that holds the data.
[[nodiscard]] std::optional<PlanCandidate> best_alone(const Question& question);

/// One function for all rows, only to show what it would need. REQUIRES: one function holds the data.
[[nodiscard]] PlanCandidate too_large_alone(const Question& question);

/// One function or data parallelism, as if no model could be split. REQUIRES: one function holds the data.
/// Errors: unavailable, when neither fits or the recipe asks for several functions and one holds the data.
[[nodiscard]] Result<Plan> decide_on_rows(const Question& question);

} // namespace muster::planner
