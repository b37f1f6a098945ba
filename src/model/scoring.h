/// What a training scores beside its steps: known to who does it (the worker) and to who predicts its time.
#pragma once

#include "model/recipe.h"

#include <cstddef>
#include <cstdint>

namespace muster {

/// Training rows that are scored for the report: a fixed sample when there are more.
inline constexpr std::size_t scored_training_rows_max = 65'536;
/// The same of a text, in samples.
inline constexpr std::size_t scored_training_samples_max = 512;
/// Rows that the linear baseline is fitted on; above linear_columns_max columns there is none.
inline constexpr std::size_t linear_rows_max = 200'000;
inline constexpr std::int64_t linear_columns_max = 1024;
/// With loss l1 the linear baseline is fitted again, reweighted, where it has few columns: each round costs as much as
/// the whole of least squares.
inline constexpr int l1_rounds = 15; // the error changes by less than 0.1 % afterwards
inline constexpr std::int64_t l1_columns_max = 128;

/// Training rows, of a text samples, that are scored for the report at most.
[[nodiscard]] std::int64_t scored_rows_max(const Recipe& recipe);

/// The encoded data and the model, as numbers.
struct DataShape {
    std::int64_t training_rows{};   ///< of a text: samples
    std::int64_t validation_rows{}; ///< of a text: samples
    std::int64_t test_rows{};       ///< of the matrix, which has a row for each token of a text
    std::int64_t columns{};         ///< encoded width
    std::int64_t parameters{};      ///< trained scalars
};

/// The work of scoring in one whole training.
struct ScoringWork {
    std::int64_t rows{};            ///< forward passes of the model, shared among the members as batches are
    std::int64_t baseline_passes{}; ///< rows times rounds of the linear baseline, at the first member alone
    std::int64_t columns{};         ///< of the linear baseline: of all rows of a window
    std::int64_t parameters{};
};

/// Validation rows after each epoch; at the end a sample of the training rows, validation and test rows.
[[nodiscard]] ScoringWork scoring_work(const Recipe& recipe, const DataShape& shape);

} // namespace muster
