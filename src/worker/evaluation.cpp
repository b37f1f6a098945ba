#include "worker/evaluation.h"

#include "worker/group_scores.h"
#include "worker/metrics.h"

#include <ATen/Functions.h>
#include <ATen/core/Reduction.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace muster::worker {
namespace {

constexpr std::int64_t chunk_rows = 4096; // bounds the memory of activations; of a text: tokens
constexpr std::int64_t chunk_window_rows = 65'536;

std::int64_t rows_of_chunk(const Recipe& recipe, const Engine& engine) {
    std::int64_t rows = chunk_rows;
    if (recipe.data.text) {
        rows = std::max<std::int64_t>(1, chunk_rows / recipe.data.text->sequence);
    } else if (recipe.data.windows) {
        rows = std::clamp<std::int64_t>(chunk_window_rows / recipe.data.windows->length, 1, chunk_rows);
    }
    return engine.forward_rows_max() > 0 ? std::min(rows, engine.forward_rows_max()) : rows;
}

} // namespace

Evaluator::Evaluator(Engine& engine,
                     const ModelProgram& program,
                     const Recipe& recipe,
                     const Preprocessing& preprocessing,
                     Ranks& ranks,
                     bool pinned)
    : engine_{engine}, program_{program}, recipe_{recipe}, preprocessing_{preprocessing}, task_{task_of(recipe)},
      outputs_{preprocessing.outputs()}, ranks_{ranks}, sequence_{recipe.data.text ? recipe.data.text->sequence : 0},
      chunk_rows_{rows_of_chunk(recipe, engine)} {
    if (pinned) {
        sum_over_ = sum_over_of(ranks);
    }
    if (engine.reads_rows()) {
        buffer_.emplace(recipe, preprocessing, chunk_rows_, program.device());
    }
}

template <typename Each>
void Evaluator::for_own_outputs(const Matrix& matrix, std::span<const std::int64_t> rows, Each each) {
    const Interval own = engine_.own_part({0, std::ssize(rows)});
    for (std::int64_t begin = own.begin; begin < own.end; begin += chunk_rows_) {
        const std::int64_t count = std::min(chunk_rows_, own.end - begin);
        const auto piece = rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
        const Outputs outputs = engine_.forward(count, buffer_ ? buffer_->gather(matrix, piece) : Batch{});
        if (outputs.values.defined()) {
            each(outputs, begin);
        }
    }
}

/// Sums of a sample are computed by one rank and summed up by all in the order of the samples: the shares do not
/// matter.
std::vector<Score> Evaluator::text_scores(const Matrix& matrix, std::span<const std::int64_t> samples) {
    const c10::AutoGradMode no_grad{false};
    if (samples.empty()) {
        return {};
    }
    at::Tensor sums = at::zeros({2, std::ssize(samples)}, at::kDouble); // losses, right guesses
    for_own_outputs(matrix, samples, [&](const Outputs& outputs, std::int64_t begin) {
        const at::Tensor& target = outputs.target;
        const at::Tensor losses =
            at::cross_entropy_loss(outputs.values.flatten(0, 1), target.flatten(), {}, at::Reduction::None);
        const auto put = [&](std::int64_t which, const at::Tensor& values) {
            sums[which].narrow(0, begin, values.size(0)).copy_(values);
        };
        put(0, losses.view_as(target).sum(1, false, at::kDouble));
        put(1, outputs.values.argmax(2).eq(target).sum(1));
    });
    ranks_.sum(sums);
    const double tokens = static_cast<double>(std::ssize(samples) * sequence_);
    return {{"accuracy", 100.0 * sums[1].sum().item<double>() / tokens},
            {"log_loss", sums[0].sum().item<double>() / tokens}};
}

template <typename Each>
void Evaluator::with_predictions(const Matrix& matrix, std::span<const std::int64_t> rows, Each each) {
    const c10::AutoGradMode no_grad{false};
    at::Tensor all = at::zeros({std::ssize(rows), outputs_}, at::kDouble);
    for_own_outputs(matrix, rows, [&](const Outputs& outputs, std::int64_t begin) {
        all.narrow(0, begin, outputs.values.size(0)).copy_(program_.finish(outputs.values));
    });
    if (all.numel() > 0 && !sum_over_) {
        ranks_.sum(all); // each prediction is zero at all ranks but one: the sum is exact
    }
    if (!matrix.held) {
        return;
    }
    const std::vector<float> targets = targets_of(matrix, rows);
    each(Predictions{.task = task_,
                     .outputs = outputs_,
                     .values = {all.const_data_ptr<double>(), static_cast<std::size_t>(all.numel())},
                     .target = targets});
}

std::vector<Score> Evaluator::scores(const Matrix& matrix, std::span<const std::int64_t> rows) {
    if (task_ == TaskKind::language) {
        return text_scores(matrix, rows);
    }
    std::vector<Score> scores;
    with_predictions(matrix, rows, [&](const Predictions& made) { scores = scores_of(made, sum_over_); });
    return scores;
}

EvaluationResult Evaluator::evaluate(const char* model, const RowSet& set) {
    EvaluationResult result{.model = model, .rows = set.name, .scores = {}};
    if (task_ == TaskKind::language) {
        result.scores = text_scores(*set.matrix, set.rows);
        return result;
    }
    with_predictions(*set.matrix, set.rows, [&](const Predictions& made) {
        result.scores = scores_of(made, sum_over_);
        auto classes = class_results_of(made, preprocessing_.target.categories, sum_over_);
        result.classes = std::move(classes.classes);
        result.confusion = std::move(classes.confusion);
        result.groups = group_scores(recipe_, preprocessing_, *set.matrix, set.rows, made);
    });
    return result;
}

SumOver sum_over_of(Ranks& ranks) {
    return [&ranks](std::span<double> numbers) {
        ranks.sum(at::from_blob(numbers.data(), {std::ssize(numbers)}, at::kDouble));
    };
}

std::vector<float> targets_of(const Matrix& matrix, std::span<const std::int64_t> rows) {
    std::vector<float> targets(rows.size());
    std::ranges::transform(rows, targets.begin(), [&](std::int64_t row) { return matrix.target_of(row); });
    return targets;
}

} // namespace muster::worker
