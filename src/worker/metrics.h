/// The metrics of model/score.h, computed from predictions. No torch.
#pragma once

#include "model/score.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// What a model said about some rows. Spans stay the caller's.
struct Predictions {
    TaskKind task{TaskKind::regression};
    std::int64_t outputs{1};          ///< 1, or the number of classes
    std::span<const double> values{}; ///< [rows, outputs] row-major: target unit, or scores that grow with belief;
                                      ///< with one output a class is "1" from 0.5 on
    std::span<const float> target{};  ///< [rows], raw unit or class index
};

/// Computes every metric that fits the task, in the order of the table of metrics. Percentages are 0 to 100 (R2 may be
/// negative). Several classes: precision, recall, F1 and AUC (one against the rest) are means over the classes that
/// occur. A value that is not defined (AUC of one class, R2 of a constant) is left out. No rows: no scores.
[[nodiscard]] std::vector<Score> scores_of(const Predictions& predictions);

} // namespace muster::worker
