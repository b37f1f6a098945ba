#include "worker/baselines.h"

#include "worker/leaf_quantiles.h"
#include "worker/metrics.h"
#include "worker/text_baselines.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace muster::worker {
namespace {

constexpr std::int64_t chunk_rows = 8192;
constexpr double error_part_min = 1e-4; // of the target's deviation: keeps the weight of an exact row finite
constexpr double ridge = 1.0; // keeps the equations solvable; of no weight beside thousands of standardised rows

EvaluationResult evaluate(const char* model,
                          const RowSet& set,
                          const Recipe& recipe,
                          std::int64_t outputs,
                          const at::Tensor& predictions,
                          bool probabilities = true) {
    const at::Tensor values = predictions.contiguous();
    const std::vector<float> targets = targets_of(*set.matrix, set.rows);
    return {.model = model,
            .rows = set.name,
            .scores = scores_of({.task = task_of(recipe),
                                 .outputs = outputs,
                                 .values = {values.const_data_ptr<double>(), static_cast<std::size_t>(values.numel())},
                                 .target = targets,
                                 .probabilities = probabilities})};
}

/// What is predicted without looking at the inputs: one number, or one for each class.
std::vector<double> naive_prediction(const Recipe& recipe, std::int64_t outputs, std::vector<float> targets) {
    const auto rows = static_cast<double>(targets.size());
    if (task_of(recipe) != TaskKind::regression && outputs > 1) {
        std::vector<double> shares(static_cast<std::size_t>(outputs), 0.0);
        for (const float target : targets) {
            shares[static_cast<std::size_t>(target)] += 1.0 / rows;
        }
        return shares;
    }
    if (recipe.loss == Loss::quantile) {
        return {quantile_of({targets.begin(), targets.end()}, recipe.quantile)};
    }
    if (recipe.loss == Loss::l1) {
        const auto middle = targets.begin() + std::ssize(targets) / 2;
        std::ranges::nth_element(targets, middle);
        const double upper = *middle;
        return {targets.size() % 2 == 1 ? upper : 0.5 * (upper + *std::max_element(targets.begin(), middle))};
    }
    return {std::accumulate(targets.begin(), targets.end(), 0.0) / rows};
}

/// [n, inputs + 1] in float64: the inputs of each sample, of all rows of its window, and a one for the intercept.
at::Tensor design(const Matrix& matrix, std::span<const std::int64_t> rows, std::int64_t window) {
    at::Tensor inputs = at::ones({std::ssize(rows), matrix.columns * window + 1}, at::kDouble);
    auto* to = inputs.mutable_data_ptr<double>();
    for (const std::int64_t row : rows) {
        to = std::ranges::copy(matrix.inputs_of(row, window), to).out + 1;
    }
    return inputs;
}

/// [n, outputs] in float64: the target, or a 0/1 column for each class.
at::Tensor linear_target(const Matrix& matrix, std::span<const std::int64_t> rows, std::int64_t outputs) {
    at::Tensor wanted = at::zeros({std::ssize(rows), outputs}, at::kDouble);
    auto* to = wanted.mutable_data_ptr<double>();
    for (const std::int64_t row : rows) {
        const double target = matrix.target_of(row);
        if (outputs == 1) {
            *to = target;
        } else {
            to[static_cast<std::int64_t>(target)] = 1.0;
        }
        to += outputs;
    }
    return wanted;
}

/// Calls `each` with consecutive pieces of `rows`.
template <typename Each>
void in_chunks(std::span<const std::int64_t> rows, Each each) {
    for (std::size_t begin = 0; begin < rows.size(); begin += chunk_rows) {
        each(rows.subspan(begin, std::min<std::size_t>(chunk_rows, rows.size() - begin)));
    }
}

/// Solves the normal equations: weights [columns + 1, outputs]. With `weights` defined, each row counts by the inverse
/// of its absolute error under them, at least `error_min`.
at::Tensor solve(const Matrix& matrix,
                 std::span<const std::int64_t> rows,
                 std::int64_t window,
                 std::int64_t outputs,
                 const at::Tensor& weights,
                 double error_min) {
    const std::int64_t width = matrix.columns * window + 1;
    at::Tensor left = at::eye(width, at::kDouble) * ridge;
    left[width - 1][width - 1] = 0.0; // the intercept is free
    at::Tensor right = at::zeros({width, outputs}, at::kDouble);
    in_chunks(rows, [&](std::span<const std::int64_t> chunk) {
        const at::Tensor inputs = design(matrix, chunk, window);
        const at::Tensor wanted = linear_target(matrix, chunk, outputs);
        at::Tensor weighted = inputs;
        if (weights.defined()) {
            weighted = inputs / at::clamp_min(at::abs(at::mm(inputs, weights) - wanted), error_min);
        }
        left.addmm_(weighted.t(), inputs);
        right.addmm_(weighted.t(), wanted);
    });
    return at::linalg_solve(left, right);
}

/// Least squares; for loss l1 least absolute errors, by reweighted least squares.
at::Tensor fit_linear(const Recipe& recipe,
                      const Preprocessing& preprocessing,
                      const Matrix& matrix,
                      std::span<const std::int64_t> rows) {
    const std::int64_t outputs = preprocessing.outputs();
    const std::int64_t window = window_rows(recipe);
    const double error_min = error_part_min * preprocessing.target.scale;
    at::Tensor weights = solve(matrix, rows, window, outputs, {}, error_min);
    if (recipe.loss == Loss::l1 && matrix.columns * window <= l1_columns_max) {
        for (int round = 0; round < l1_rounds; ++round) {
            weights = solve(matrix, rows, window, outputs, weights, error_min);
        }
    }
    return weights;
}

/// What the target was at the newest row of each window, [n, 1]; undefined where that is no number.
at::Tensor newest_targets(const Preprocessing& preprocessing, const RowSet& set) {
    std::int64_t column = 0;
    const InputColumn* own = nullptr;
    for (const InputColumn& input : preprocessing.inputs) {
        if (input.name == preprocessing.target.name && input.kind == ColumnKind::number) {
            own = &input;
            break;
        }
        column += encoded_columns(input);
    }
    if (own == nullptr) {
        return {};
    }
    at::Tensor values = at::empty({std::ssize(set.rows), 1}, at::kDouble);
    auto* to = values.mutable_data_ptr<double>();
    for (const std::int64_t row : set.rows) {
        const double value = static_cast<double>(set.matrix->row(row)[column]) * own->scale + own->mean;
        *to++ = std::isnan(value) ? preprocessing.target.mean : value; // not filled in for boosted trees
    }
    return values;
}

} // namespace

std::vector<EvaluationResult> baselines(const Recipe& recipe,
                                        const Preprocessing& preprocessing,
                                        const Matrix& matrix,
                                        std::span<const std::int64_t> training,
                                        std::span<const RowSet> sets) {
    const std::int64_t outputs = preprocessing.outputs();
    if (recipe.data.text) {
        return text_baselines(matrix, training, recipe.data.text->sequence, outputs, sets);
    }
    const c10::AutoGradMode no_grad{false};
    std::vector<EvaluationResult> results;
    const at::Tensor constant =
        at::tensor(naive_prediction(recipe, outputs, targets_of(matrix, training)), at::kDouble);
    for (const RowSet& set : sets) {
        results.push_back(evaluate("naive", set, recipe, outputs, constant.expand({std::ssize(set.rows), outputs})));
    }
    for (const RowSet& set : sets) {
        if (const auto newest = recipe.data.windows ? newest_targets(preprocessing, set) : at::Tensor{};
            newest.defined()) {
            results.push_back(evaluate("persistence", set, recipe, outputs, newest));
        }
    }
    const std::int64_t window = window_rows(recipe);
    if (matrix.columns * window > linear_columns_max || has_trees(recipe)) { // whose rows are not for sums
        return results;
    }
    const at::Tensor weights =
        fit_linear(recipe, preprocessing, matrix, training.first(std::min(training.size(), linear_rows_max)));
    for (const RowSet& set : sets) {
        at::Tensor predictions = at::empty({std::ssize(set.rows), outputs}, at::kDouble);
        std::int64_t done = 0;
        in_chunks(set.rows, [&](std::span<const std::int64_t> chunk) {
            predictions.narrow(0, done, std::ssize(chunk)).copy_(at::mm(design(*set.matrix, chunk, window), weights));
            done += std::ssize(chunk);
        });
        results.push_back(evaluate("linear", set, recipe, outputs, predictions, false));
    }
    return results;
}

} // namespace muster::worker
