/// The metrics of model/score.h, computed from predictions. No torch.
#pragma once

#include "model/messages.h"
#include "model/score.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace muster::worker {

/// What a model said about some rows. Spans stay the caller's.
struct Predictions {
    TaskKind task{TaskKind::regression};
    std::int64_t outputs{1};          ///< 1, or the number of classes
    std::span<const double> values{}; ///< [rows, outputs] row-major: target unit, or scores that grow with belief;
                                      ///< with one output a class is "1" from 0.5 on
    std::span<const float> target{};  ///< [rows], raw unit or class index
    bool probabilities{true};         ///< of classes: values are probabilities; log_loss is of these alone
};

/// Adds up numbers over all functions, in place, where each has predictions for rows of its own; all call it alike,
/// also one without rows. Empty: the predictions are for all rows.
using SumOver = std::function<void(std::span<double>)>;

/// Computes every metric that fits the task, in the order of the table of metrics. Percentages are 0 to 100 (R2 may be
/// negative, MAPE any). Several classes: precision, recall, F1 and AUC (one against the rest) are means over the
/// classes that occur, and so is balanced_accuracy, the mean recall, for two classes as well. Of MAPE rows with target
/// 0 are left out. A value that is not defined (AUC of one class, R2 of a constant) is left out. No rows: no scores.
/// With `sum_over` the scores are those of the rows of all, and the same at all; AUC is left out, for it takes more
/// than sums.
[[nodiscard]] std::vector<Score> scores_of(const Predictions& predictions, const SumOver& sum_over = {});

/// Scores of each class and what was taken for what. Rows of `confusion` are classes as they are, columns as they were
/// predicted.
struct ClassResults {
    std::vector<ClassScores> classes{};                 ///< all; of more than confused_classes_max those that occur or
                                                        ///< were predicted
    std::vector<std::vector<std::int64_t>> confusion{}; ///< all by all; of more than confused_classes_max none
};

inline constexpr std::size_t confused_classes_max = 32;
inline constexpr std::size_t reported_classes_max = 64;

/// Computes precision, recall, F1 and AUC of each class against the rest. `names` has one name for each class; of more
/// than reported_classes_max classes those that occur most. Of a regression: nothing.
/// `sum_over` as above.
[[nodiscard]] ClassResults
class_results_of(const Predictions& predictions, std::span<const std::string> names, const SumOver& sum_over = {});

} // namespace muster::worker
