/// Scores by category: an operator sees in which cells a model is bad.
#pragma once

#include "base/result.h"
#include "model/messages.h"
#include "model/recipe.h"
#include "worker/matrix.h"
#include "worker/metrics.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Checks that recipe.report_by names inputs that are categories. Errors: invalid_argument with the place in the recipe
/// and what is allowed.
[[nodiscard]] Result<void> check_report_by(const Recipe& recipe, const Preprocessing& preprocessing);

/// Returns the scores of the rows of each category that occurs, for each input of recipe.report_by in its order;
/// categories in theirs, rows without one last. `made` are the predictions for `rows` of `matrix`.
[[nodiscard]] std::vector<GroupScores> group_scores(const Recipe& recipe,
                                                    const Preprocessing& preprocessing,
                                                    const Matrix& matrix,
                                                    std::span<const std::int64_t> rows,
                                                    const Predictions& made);

} // namespace muster::worker
