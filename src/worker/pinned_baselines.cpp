#include "worker/pinned_baselines.h"

#include <algorithm>

namespace muster::worker {
namespace {

/// One number, or one for each class.
std::vector<double> naive_prediction(const Recipe& recipe,
                                     const Preprocessing& preprocessing,
                                     const std::vector<float>& targets,
                                     const SumOver& sum_over) {
    if (task_of(recipe) == TaskKind::regression) {
        return {recipe.loss == Loss::l1 ? preprocessing.target.median : preprocessing.target.mean};
    }
    const std::size_t classes = preprocessing.target.categories.size();
    std::vector<double> rows(classes + 1, 0.0); // the last: all
    for (const float target : targets) {
        rows[static_cast<std::size_t>(target)] += 1.0;
        rows.back() += 1.0;
    }
    sum_over(rows);
    const double all = rows.back();
    rows.pop_back();
    std::ranges::for_each(rows, [all](double& part) { part /= all; });
    return preprocessing.outputs() == 1 ? std::vector{rows[1]} : rows;
}

} // namespace

std::vector<EvaluationResult> pinned_baselines(const Recipe& recipe,
                                               const Preprocessing& preprocessing,
                                               const Matrix& matrix,
                                               std::span<const std::int64_t> training,
                                               std::span<const RowSet> sets,
                                               const SumOver& sum_over) {
    if (recipe.loss == Loss::quantile) {
        return {}; // the statistics of sites have the middle, and no other
    }
    const std::vector<double> constant =
        naive_prediction(recipe, preprocessing, targets_of(matrix, training), sum_over);
    std::vector<EvaluationResult> results;
    for (const RowSet& set : sets) {
        const std::vector<float> targets = targets_of(*set.matrix, set.rows);
        std::vector<double> values;
        for (std::size_t row = 0; row < targets.size(); ++row) {
            values.insert(values.end(), constant.begin(), constant.end());
        }
        results.push_back(
            {.model = "naive",
             .rows = set.name,
             .scores = scores_of(
                 {.task = task_of(recipe), .outputs = preprocessing.outputs(), .values = values, .target = targets},
                 sum_over)});
    }
    return results;
}

} // namespace muster::worker
