/// What is wrong with an order to train, before anything is done.
#pragma once

#include "base/result.h"
#include "model/recipe.h"
#include "worker/matrix.h"
#include "worker/trainer.h"

namespace muster::worker {

/// Errors: invalid_argument, when shares, stages and members do not belong together.
[[nodiscard]] Result<void> check_order(const TrainingOrder& order);

/// Errors: invalid_argument, when this member is to read rows and holds none.
[[nodiscard]] Result<void> check_rows(const Recipe& recipe, const Matrix& matrix, const TrainingOrder& order);

} // namespace muster::worker
