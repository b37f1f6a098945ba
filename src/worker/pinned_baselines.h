/// What a model of pinned rows is compared with.
#pragma once

#include "model/messages.h"
#include "model/recipe.h"
#include "worker/evaluation.h"
#include "worker/metrics.h"

#include <span>
#include <vector>

namespace muster::worker {

/// Returns the scores of "naive" on all members' rows: the mean or, for loss l1, the median of the target, of classes
/// their parts; of the loss quantile none. The linear model is left out: its equations would tell a site's rows where
/// they are few. All ranks call it, each with its own rows. Throws what `sum_over` throws.
[[nodiscard]] std::vector<EvaluationResult> pinned_baselines(const Recipe& recipe,
                                                             const Preprocessing& preprocessing,
                                                             const Matrix& matrix,
                                                             std::span<const std::int64_t> training,
                                                             std::span<const RowSet> sets,
                                                             const SumOver& sum_over);

} // namespace muster::worker
