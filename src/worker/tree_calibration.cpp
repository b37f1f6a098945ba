#include "worker/tree_calibration.h"

#include "worker/boosted_trees.h"
#include "worker/ranks.h"
#include "worker/tree_problem.h"
#include "worker/used_rows.h"

#include <algorithm>
#include <vector>

namespace muster::worker {
namespace {

/// The mean of some trees after the first, which also makes LightGBM's memory.
double tree_seconds(BoostedTrees& trees, const CalibrationSettings& settings, Deadline deadline) {
    SteadyTime begin = std::chrono::steady_clock::now();
    if (!trees.grow()) {
        return 0.0;
    }
    const double first = seconds_between(begin, std::chrono::steady_clock::now());
    begin = std::chrono::steady_clock::now();
    int timed = 0;
    while (!deadline.passed() &&
           (timed < settings.timed_steps || std::chrono::steady_clock::now() - begin < settings.timed_min)) {
        if (!trees.grow()) {
            break;
        }
        ++timed;
    }
    return timed == 0 ? first : seconds_between(begin, std::chrono::steady_clock::now()) / timed;
}

} // namespace

Result<Calibration> measure_trees(const Recipe& recipe,
                                  const Preprocessing& preprocessing,
                                  const Matrix& matrix,
                                  std::span<const std::int64_t> batches,
                                  int threads,
                                  const CalibrationSettings& settings) {
    const std::vector<std::int64_t> ends = training_rows_of(recipe, matrix);
    std::vector<std::int64_t> sizes{batches.begin(), batches.end()};
    std::ranges::sort(sizes);
    if (sizes.empty() || sizes.front() < 1 || ends.empty()) {
        return Error{ErrorCode::invalid_argument, "numbers of rows to measure must be above 0", "batches"};
    }
    const TreeSamples samples{recipe, preprocessing, matrix, ends};
    std::vector<std::int64_t> rows(ends.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = samples.number(i);
    }
    std::vector<float> targets;
    targets.reserve(rows.size());
    for (const std::int64_t row : rows) {
        targets.push_back(samples.target()[static_cast<std::size_t>(row)]);
    }
    const TreeObjective objective = tree_objective(recipe, preprocessing, targets);
    Calibration calibration;
    const SteadyTime begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        const auto own = std::span{rows}.first(std::min(rows.size(), static_cast<std::size_t>(sizes[i])));
        BoostedTrees trees{{.features = samples.features(),
                            .columns = samples.columns(),
                            .target = samples.target(),
                            .training_rows = own,
                            .own_rows = own,
                            .categorical = category_columns(recipe, preprocessing)},
                           objective,
                           tree_parameters(recipe, threads),
                           nullptr};
        const Duration left = settings.steps_limit - (std::chrono::steady_clock::now() - begin);
        const auto part = std::chrono::duration_cast<Duration>(left / static_cast<double>(sizes.size() - i));
        calibration.steps.push_back({std::ssize(own), tree_seconds(trees, settings, Deadline::after(part))});
        calibration.parameter_bytes = trees.histogram_bytes() / 2;
        if (i == 0 || i + 1 == sizes.size()) {
            calibration.memory.push_back({std::ssize(own), peak_memory_bytes()});
        }
    }
    return calibration;
}

} // namespace muster::worker
