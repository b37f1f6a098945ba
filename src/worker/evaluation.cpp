#include "worker/evaluation.h"

#include "worker/metrics.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace muster::worker {
namespace {

constexpr std::int64_t chunk_rows = 4096; // bounds the memory of activations

} // namespace

Evaluator::Evaluator(ModelProgram& program, const Recipe& recipe, const Preprocessing& preprocessing, Ranks& ranks)
    : program_{program}, task_{task_of(recipe)}, outputs_{preprocessing.outputs()}, ranks_{ranks}, buffer_{
                                                                                                       recipe,
                                                                                                       preprocessing,
                                                                                                       chunk_rows} {}

std::vector<Score> Evaluator::scores(const Matrix& matrix, std::span<const std::int64_t> rows) {
    const c10::AutoGradMode no_grad{false};
    at::Tensor all = at::zeros({std::ssize(rows), outputs_}, at::kDouble);
    const Interval own = ranks_.own_part({0, std::ssize(rows)});
    for (std::int64_t begin = own.begin; begin < own.end; begin += chunk_rows) {
        const std::int64_t count = std::min(chunk_rows, own.end - begin);
        const auto chunk = rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
        all.narrow(0, begin, count).copy_(program_.finish(program_.forward(buffer_.gather_rows(matrix, chunk))));
    }
    if (all.numel() > 0) {
        ranks_.sum(all); // each prediction is zero at all ranks but one: the sum is exact
    }
    const std::vector<float> targets = targets_of(matrix, rows);
    return scores_of({.task = task_,
                      .outputs = outputs_,
                      .values = {all.const_data_ptr<double>(), static_cast<std::size_t>(all.numel())},
                      .target = targets});
}

std::vector<float> targets_of(const Matrix& matrix, std::span<const std::int64_t> rows) {
    std::vector<float> targets(rows.size());
    std::ranges::transform(rows, targets.begin(), [&](std::int64_t row) { return matrix.target_of(row); });
    return targets;
}

} // namespace muster::worker
