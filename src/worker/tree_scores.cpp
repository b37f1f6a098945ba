#include "worker/tree_scores.h"

#include "worker/group_scores.h"
#include "worker/metrics.h"
#include "worker/tree_problem.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstddef>

namespace muster::worker {
namespace {

constexpr std::int64_t chunk_rows = 4096; // bounds the memory of rows as doubles

/// Predicts the samples that end with `rows` and writes them from `to` on.
void predict(const TreeModel& model,
             const std::vector<SampleColumn>& columns,
             const Matrix& matrix,
             std::span<const std::int64_t> rows,
             double* to) {
    std::vector<double> inputs;
    inputs.reserve(rows.size() * columns.size());
    for (const std::int64_t end : rows) {
        for (const SampleColumn& column : columns) {
            inputs.push_back(matrix.row(end - column.before)[column.position % matrix.columns]);
        }
    }
    std::ranges::copy(model.predict(inputs), to);
}

} // namespace

EvaluationResult evaluate_trees(
    const TreeModel& model, const RowSet& set, const Recipe& recipe, const Preprocessing& preprocessing, Ranks& ranks) {
    const auto outputs = static_cast<std::int64_t>(model.outputs());
    at::Tensor all = at::zeros({std::ssize(set.rows), outputs}, at::kDouble);
    const std::vector<SampleColumn> columns = columns_of_sample(recipe, preprocessing);
    const Interval own = ranks.own_part({0, std::ssize(set.rows)});
    for (std::int64_t begin = own.begin; begin < own.end; begin += chunk_rows) {
        const auto count = static_cast<std::size_t>(std::min(chunk_rows, own.end - begin));
        const auto rows = std::span{set.rows}.subspan(static_cast<std::size_t>(begin), count);
        predict(model, columns, *set.matrix, rows, all.mutable_data_ptr<double>() + begin * outputs);
    }
    if (all.numel() > 0) {
        ranks.sum(all); // each prediction is zero at all ranks but one: the sum is exact
    }
    const std::vector<float> targets = targets_of(*set.matrix, set.rows);
    const Predictions made{.task = task_of(recipe),
                           .outputs = outputs,
                           .values = {all.const_data_ptr<double>(), static_cast<std::size_t>(all.numel())},
                           .target = targets};
    EvaluationResult result{.model = "trained", .rows = set.name, .scores = scores_of(made)};
    auto classes = class_results_of(made, preprocessing.target.categories);
    result.classes = std::move(classes.classes);
    result.confusion = std::move(classes.confusion);
    result.groups = group_scores(recipe, preprocessing, *set.matrix, set.rows, made);
    return result;
}

std::vector<Score> scores_of_raw(const TreeObjective& objective,
                                 const Recipe& recipe,
                                 std::span<const double> raw,
                                 std::span<const float> target) {
    std::vector<double> values{raw.begin(), raw.end()};
    const auto outputs = static_cast<std::size_t>(objective.outputs());
    for (std::size_t at = 0; at < values.size(); at += outputs) {
        transform(objective, std::span{values}.subspan(at, outputs));
    }
    return scores_of(
        {.task = task_of(recipe), .outputs = static_cast<std::int64_t>(outputs), .values = values, .target = target});
}

} // namespace muster::worker
