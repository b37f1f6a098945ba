#include "model/scoring.h"

#include <algorithm>

namespace muster {

std::int64_t scored_rows_max(const Recipe& recipe) {
    return static_cast<std::int64_t>(recipe.data.text ? scored_training_samples_max : scored_training_rows_max);
}

ScoringWork scoring_work(const Recipe& recipe, const DataShape& shape) {
    const auto sample = std::min(shape.training_rows, scored_rows_max(recipe));
    const auto fitted = std::min(shape.training_rows, static_cast<std::int64_t>(linear_rows_max));
    const std::int64_t columns = shape.columns * window_rows(recipe);
    const bool reweighted = recipe.loss == Loss::l1 && columns <= l1_columns_max;
    const bool no_baseline = recipe.data.text.has_value() || has_trees(recipe);
    const std::int64_t rounds = no_baseline || columns > linear_columns_max ? 0 : reweighted ? 1 + l1_rounds : 1;
    const std::int64_t test = recipe.data.text ? shape.test_rows / recipe.data.text->sequence : shape.test_rows;
    if (has_trees(recipe)) { // a row passes through every tree, where a step is one of them
        return {.rows = recipe.model.trees->trees * (2 * shape.validation_rows + sample + test),
                .baseline_passes = 0,
                .columns = columns,
                .parameters = shape.parameters};
    }
    return {.rows = recipe.epochs * shape.validation_rows + sample + shape.validation_rows + test,
            .baseline_passes = fitted * rounds,
            .columns = columns,
            .parameters = shape.parameters};
}

} // namespace muster
