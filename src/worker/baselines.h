/// What a model must beat to be worth its training: a constant and a linear model, of series the last value too;
/// of a text text_baselines.h.
#pragma once

#include "model/messages.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/scoring.h"
#include "worker/evaluation.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Fits both baselines on `training` rows of `matrix` and evaluates them on each of `sets`; done by one function alone.
///   "naive"   regression: the median (loss l1), the recipe's quantile, or the mean of the targets; classification: the
///   share of each class "persistence"  of windows with a numeric target: what it was at the newest row "linear"  ridge
///   regression by normal equations in float64, for loss l1 reweighted to least absolute errors, for
///             classification on one 0/1 target for each class (no learning rate to choose, the same on every
///             machine). Fitted on at most linear_rows_max rows; left out above linear_columns_max columns, where
///             solving would take longer than it tells, and of boosted trees, whose rows are raw.
[[nodiscard]] std::vector<EvaluationResult> baselines(const Recipe& recipe,
                                                      const Preprocessing& preprocessing,
                                                      const Matrix& matrix,
                                                      std::span<const std::int64_t> training,
                                                      std::span<const RowSet> sets);

} // namespace muster::worker
