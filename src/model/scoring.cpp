#include "model/scoring.h"

#include <algorithm>

namespace muster {

ScoringWork scoring_work(const Recipe& recipe, const DataShape& shape) {
    const auto sample = std::min(shape.training_rows, static_cast<std::int64_t>(scored_training_rows_max));
    const auto fitted = std::min(shape.training_rows, static_cast<std::int64_t>(linear_rows_max));
    const bool reweighted = recipe.loss == Loss::l1 && shape.columns <= l1_columns_max;
    const std::int64_t rounds = shape.columns > linear_columns_max ? 0 : reweighted ? 1 + l1_rounds : 1;
    return {.rows = recipe.epochs * shape.validation_rows + sample + shape.validation_rows + shape.test_rows,
            .baseline_passes = fitted * rounds,
            .columns = shape.columns,
            .parameters = shape.parameters};
}

} // namespace muster
