#include "worker/metrics.h"

#include "base/assert.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace muster::worker {
namespace {

std::vector<Score> regression_scores(const Predictions& made) {
    const auto rows = static_cast<double>(made.target.size());
    double absolute = 0.0;
    double squared = 0.0;
    double sum = 0.0;
    for (std::size_t row = 0; row < made.target.size(); ++row) {
        const double error = made.values[row] - static_cast<double>(made.target[row]);
        absolute += std::abs(error);
        squared += error * error;
        sum += static_cast<double>(made.target[row]);
    }
    const double mean = sum / rows;
    double spread = 0.0;
    for (const float target : made.target) {
        spread += (static_cast<double>(target) - mean) * (static_cast<double>(target) - mean);
    }
    std::vector<Score> scores;
    if (spread > 0.0) {
        scores.push_back({"R2", 100.0 * (1.0 - squared / spread)});
    }
    scores.push_back({"MAE", absolute / rows});
    scores.push_back({"MSE", squared / rows});
    scores.push_back({"RMSE", std::sqrt(squared / rows)});
    return scores;
}

/// Area under the ROC curve by the rank sum of Mann and Whitney, ties sharing their rank.
template <typename ScoreOf, typename IsPositive>
std::optional<double> area_under_curve(std::size_t rows, ScoreOf score_of, IsPositive is_positive) {
    std::vector<std::size_t> order(rows);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, score_of);
    double rank_sum = 0.0;
    double positives = 0.0;
    for (std::size_t first = 0; first < rows;) {
        std::size_t last = first;
        double tied_positives = 0.0;
        while (last < rows && score_of(order[last]) == score_of(order[first])) {
            tied_positives += is_positive(order[last]) ? 1.0 : 0.0;
            ++last;
        }
        rank_sum += tied_positives * 0.5 * static_cast<double>(first + 1 + last);
        positives += tied_positives;
        first = last;
    }
    const double negatives = static_cast<double>(rows) - positives;
    if (positives == 0.0 || negatives == 0.0) {
        return std::nullopt;
    }
    return (rank_sum - 0.5 * positives * (positives + 1.0)) / (positives * negatives);
}

/// Counts of one class against the rest.
struct Counts {
    double hit{};
    double predicted{};
    double actual{};

    [[nodiscard]] double precision() const { return predicted > 0.0 ? hit / predicted : 0.0; }
    [[nodiscard]] double recall() const { return actual > 0.0 ? hit / actual : 0.0; }
    [[nodiscard]] double f1() const { return predicted + actual > 0.0 ? 2.0 * hit / (predicted + actual) : 0.0; }
};

std::vector<Score> classification_scores(const Predictions& made) {
    const auto outputs = static_cast<std::size_t>(made.outputs);
    const std::size_t classes = std::max<std::size_t>(2, outputs);
    std::vector<Counts> counts(classes);
    double right = 0.0;
    for (std::size_t row = 0; row < made.target.size(); ++row) {
        const auto of_row = made.values.subspan(row * outputs, outputs);
        const auto guess = outputs == 1 ? static_cast<std::size_t>(of_row[0] >= 0.5)
                                        : static_cast<std::size_t>(std::ranges::max_element(of_row) - of_row.begin());
        const auto actual = static_cast<std::size_t>(made.target[row]);
        MUSTER_ASSERT(actual < classes);
        counts[guess].predicted += 1.0;
        counts[actual].actual += 1.0;
        counts[actual].hit += guess == actual ? 1.0 : 0.0;
        right += guess == actual ? 1.0 : 0.0;
    }
    double precision = 0.0;
    double recall = 0.0;
    double f1 = 0.0;
    double area = 0.0;
    double areas = 0.0;
    double seen = 0.0;
    // Two classes: the second is the positive one.
    for (std::size_t index = outputs == 1 ? 1 : 0; index < classes; ++index) {
        if (outputs > 1 && counts[index].actual == 0.0) {
            continue;
        }
        seen += 1.0;
        precision += counts[index].precision();
        recall += counts[index].recall();
        f1 += counts[index].f1();
        const auto curve = area_under_curve(
            made.target.size(),
            [&](std::size_t row) { return made.values[row * outputs + (outputs == 1 ? 0 : index)]; },
            [&](std::size_t row) { return static_cast<std::size_t>(made.target[row]) == index; });
        area += curve.value_or(0.0);
        areas += curve ? 1.0 : 0.0;
    }
    const double percent = 100.0 / seen;
    std::vector<Score> scores{{"accuracy", 100.0 * right / static_cast<double>(made.target.size())},
                              {"precision", percent * precision},
                              {"recall", percent * recall},
                              {"F1", percent * f1}};
    if (areas > 0.0) {
        scores.push_back({"AUC", 100.0 * area / areas});
    }
    return scores;
}

} // namespace

std::vector<Score> scores_of(const Predictions& predictions) {
    MUSTER_ASSERT(predictions.values.size() ==
                  predictions.target.size() * static_cast<std::size_t>(predictions.outputs));
    if (predictions.target.empty()) {
        return {};
    }
    MUSTER_ASSERT(predictions.task != TaskKind::language); // Evaluator sums those up as they come
    return predictions.task == TaskKind::regression ? regression_scores(predictions)
                                                    : classification_scores(predictions);
}

} // namespace muster::worker
