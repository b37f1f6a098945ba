#include "worker/metrics.h"

#include "base/assert.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

namespace muster::worker {
namespace {

void sum_up(const SumOver& sum_over, std::span<double> numbers) {
    if (sum_over) {
        sum_over(numbers);
    }
}

std::vector<Score> regression_scores(const Predictions& made, const SumOver& sum_over) {
    std::array<double, 6> sums{static_cast<double>(made.target.size())};
    auto& [rows, absolute, squared, sum, relative, with_size] = sums; // the last: rows whose target is not 0
    for (std::size_t row = 0; row < made.target.size(); ++row) {
        const auto target = static_cast<double>(made.target[row]);
        const double error = made.values[row] - target;
        absolute += std::abs(error);
        squared += error * error;
        sum += target;
        if (target != 0.0) {
            relative += std::abs(error / target);
            with_size += 1.0;
        }
    }
    sum_up(sum_over, sums);
    if (rows == 0.0) {
        return {};
    }
    const double mean = sum / rows;
    double spread = 0.0;
    for (const float target : made.target) {
        spread += (static_cast<double>(target) - mean) * (static_cast<double>(target) - mean);
    }
    sum_up(sum_over, {&spread, 1});
    std::vector<Score> scores;
    if (spread > 0.0) {
        scores.push_back({"R2", 100.0 * (1.0 - squared / spread)});
    }
    scores.push_back({"MAE", absolute / rows});
    scores.push_back({"MSE", squared / rows});
    scores.push_back({"RMSE", std::sqrt(squared / rows)});
    if (with_size > 0.0) {
        scores.push_back({"MAPE", 100.0 * relative / with_size});
    }
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

/// Predictions as classes.
class Guesses {
public:
    explicit Guesses(const Predictions& made)
        : made_{made}, outputs_{static_cast<std::size_t>(made.outputs)}, classes_{std::max<std::size_t>(2, outputs_)} {}

    [[nodiscard]] std::size_t classes() const { return classes_; }
    [[nodiscard]] std::size_t rows() const { return made_.target.size(); }
    [[nodiscard]] std::size_t actual(std::size_t row) const {
        const auto of_row = static_cast<std::size_t>(made_.target[row]);
        MUSTER_ASSERT(of_row < classes_);
        return of_row;
    }
    [[nodiscard]] std::size_t guess(std::size_t row) const {
        const auto of_row = made_.values.subspan(row * outputs_, outputs_);
        return outputs_ == 1 ? static_cast<std::size_t>(of_row[0] >= 0.5)
                             : static_cast<std::size_t>(std::ranges::max_element(of_row) - of_row.begin());
    }
    /// How much a class is believed in; of two by one output, the first is believed in where the second is not.
    [[nodiscard]] double belief(std::size_t row, std::size_t in) const {
        if (outputs_ == 1) {
            return in == 1 ? made_.values[row] : 1.0 - made_.values[row];
        }
        return made_.values[row * outputs_ + in];
    }

    /// Over all rows, of others too with `sum_over`.
    [[nodiscard]] std::vector<Counts> counts(const SumOver& sum_over) const {
        std::vector<Counts> counts(classes_);
        for (std::size_t row = 0; row < rows(); ++row) {
            const std::size_t guessed = guess(row);
            const std::size_t is = actual(row);
            counts[guessed].predicted += 1.0;
            counts[is].actual += 1.0;
            counts[is].hit += guessed == is ? 1.0 : 0.0;
        }
        if (sum_over) {
            std::vector<double> numbers;
            for (const Counts& of_class : counts) {
                numbers.insert(numbers.end(), {of_class.hit, of_class.predicted, of_class.actual});
            }
            sum_over(numbers);
            for (std::size_t index = 0; index < classes_; ++index) {
                counts[index] = {numbers[3 * index], numbers[3 * index + 1], numbers[3 * index + 2]};
            }
        }
        return counts;
    }

    /// One class against the rest; none when only one of both occurs.
    [[nodiscard]] std::optional<double> area(std::size_t of) const {
        return area_under_curve(
            rows(),
            [&](std::size_t row) { return belief(row, of); },
            [&](std::size_t row) { return actual(row) == of; });
    }

    /// In nats, summed over the rows, of believed parts of at least `least`: what is sure and wrong would be infinite.
    [[nodiscard]] double log_losses() const {
        constexpr double least = 1e-15;
        double sum = 0.0;
        for (std::size_t row = 0; row < rows(); ++row) {
            sum -= std::log(std::clamp(belief(row, actual(row)), least, 1.0));
        }
        return sum;
    }

private:
    const Predictions& made_;
    std::size_t outputs_;
    std::size_t classes_;
};

/// The sum of what `value_of` gives for the classes that occur, divided by their number, in percent.
template <typename ValueOf>
double mean_percent(std::span<const Counts> counts, ValueOf value_of) {
    double sum = 0.0;
    double seen = 0.0;
    for (const Counts& of_class : counts) {
        if (of_class.actual > 0.0) {
            sum += value_of(of_class);
            seen += 1.0;
        }
    }
    return 100.0 * sum / seen;
}

/// One against the rest, mean over the classes that occur.
std::optional<double> mean_area(const Guesses& guesses, std::span<const Counts> counts) {
    double sum = 0.0;
    double areas = 0.0;
    for (std::size_t index = 0; index < counts.size(); ++index) {
        if (const auto area = counts[index].actual > 0.0 ? guesses.area(index) : std::nullopt) {
            sum += *area;
            areas += 1.0;
        }
    }
    return areas > 0.0 ? std::optional{sum / areas} : std::nullopt;
}

std::vector<Score> classification_scores(const Predictions& made, const SumOver& sum_over) {
    const Guesses guesses{made};
    const auto counts = guesses.counts(sum_over);
    double right = 0.0;
    double rows = 0.0;
    for (const Counts& of_class : counts) {
        right += of_class.hit;
        rows += of_class.actual;
    }
    double losses = made.probabilities ? guesses.log_losses() : 0.0;
    sum_up(sum_over, {&losses, 1});
    if (rows == 0.0) {
        return {};
    }
    // Two classes by one output: the second is the positive one.
    const bool positive_alone = made.outputs == 1;
    const Counts& positive = counts[1];
    const auto percent = [&](auto value_of) {
        return positive_alone ? 100.0 * value_of(positive) : mean_percent(counts, value_of);
    };
    std::vector<Score> scores{{"accuracy", 100.0 * right / rows},
                              {"balanced_accuracy", mean_percent(counts, [](const Counts& c) { return c.recall(); })},
                              {"precision", percent([](const Counts& c) { return c.precision(); })},
                              {"recall", percent([](const Counts& c) { return c.recall(); })},
                              {"F1", percent([](const Counts& c) { return c.f1(); })}};
    const auto area = sum_over ? std::nullopt : positive_alone ? guesses.area(1) : mean_area(guesses, counts);
    if (area) {
        scores.push_back({"AUC", 100.0 * *area});
    }
    if (made.probabilities) {
        scores.push_back({"log_loss", losses / rows});
    }
    return scores;
}

/// The classes to be reported: all of a few; of more those that occur or were predicted; of too many, the most
/// frequent.
std::vector<std::size_t> reported_classes(std::span<const Counts> counts) {
    std::vector<std::size_t> reported;
    for (std::size_t index = 0; index < counts.size(); ++index) {
        if (counts.size() <= confused_classes_max || counts[index].actual > 0.0 || counts[index].predicted > 0.0) {
            reported.push_back(index);
        }
    }
    if (reported.size() > reported_classes_max) {
        std::ranges::stable_sort(reported, std::ranges::greater{}, [&](std::size_t i) { return counts[i].actual; });
        reported.resize(reported_classes_max);
        std::ranges::sort(reported);
    }
    return reported;
}

} // namespace

std::vector<Score> scores_of(const Predictions& predictions, const SumOver& sum_over) {
    MUSTER_ASSERT(predictions.values.size() ==
                  predictions.target.size() * static_cast<std::size_t>(predictions.outputs));
    if (predictions.target.empty() && !sum_over) {
        return {};
    }
    MUSTER_ASSERT(predictions.task != TaskKind::language); // Evaluator sums those up as they come
    return predictions.task == TaskKind::regression ? regression_scores(predictions, sum_over)
                                                    : classification_scores(predictions, sum_over);
}

ClassResults
class_results_of(const Predictions& predictions, std::span<const std::string> names, const SumOver& sum_over) {
    const bool tells_classes = predictions.task == TaskKind::binary || predictions.task == TaskKind::multiclass;
    if (!tells_classes || (predictions.target.empty() && !sum_over)) {
        return {};
    }
    const Guesses guesses{predictions};
    MUSTER_ASSERT(names.size() == guesses.classes());
    const auto counts = guesses.counts(sum_over);
    ClassResults results;
    for (const std::size_t index : reported_classes(counts)) {
        const Counts& own = counts[index];
        ClassScores scores{.name = names[index],
                           .rows = static_cast<std::int64_t>(own.actual),
                           .scores = {{"precision", 100.0 * own.precision()},
                                      {"recall", 100.0 * own.recall()},
                                      {"F1", 100.0 * own.f1()}}};
        if (const auto area = sum_over ? std::nullopt : guesses.area(index)) {
            scores.scores.push_back({"AUC", 100.0 * *area});
        }
        results.classes.push_back(std::move(scores));
    }
    if (guesses.classes() <= confused_classes_max) {
        const std::size_t classes = guesses.classes();
        std::vector<double> cells(classes * classes, 0.0);
        for (std::size_t row = 0; row < guesses.rows(); ++row) {
            cells[guesses.actual(row) * classes + guesses.guess(row)] += 1.0;
        }
        sum_up(sum_over, cells);
        for (std::size_t cell = 0; cell < cells.size(); ++cell) {
            if (cell % classes == 0) {
                results.confusion.emplace_back();
            }
            results.confusion.back().push_back(static_cast<std::int64_t>(cells[cell]));
        }
    }
    return results;
}

} // namespace muster::worker
