/// Scores of boosted trees, the work shared among the members.
#pragma once

#include "model/messages.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/evaluation.h"
#include "worker/ranks.h"
#include "worker/tree_model.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Evaluates `model` on the rows of `set`: each rank predicts its part, all get all predictions and compute the same
/// scores, also of each class and by recipe.report_by. Throws what the group throws.
[[nodiscard]] EvaluationResult evaluate_trees(
    const TreeModel& model, const RowSet& set, const Recipe& recipe, const Preprocessing& preprocessing, Ranks& ranks);

/// Computes the scores of raw scores [rows, outputs], which belong to these targets [rows].
[[nodiscard]] std::vector<Score> scores_of_raw(const TreeObjective& objective,
                                               const Recipe& recipe,
                                               std::span<const double> raw,
                                               std::span<const float> target);

} // namespace muster::worker
