/// How much rows count by their class. No torch.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/recipe.h"

#include <span>
#include <vector>

namespace muster::worker {

/// Checks that the recipe's class weights name classes of the target. Errors: invalid_argument with the place in the
/// recipe and what is allowed.
[[nodiscard]] Result<void> check_class_weights(const Recipe& recipe, const Preprocessing& preprocessing);

/// Returns the weight of each class; none, where the recipe has none. `targets` are those of the training rows.
/// balanced: rows / (classes that occur * rows of the class). REQUIRES: check_class_weights().
[[nodiscard]] std::vector<double>
class_weights_of(const Recipe& recipe, const Preprocessing& preprocessing, std::span<const float> targets);

} // namespace muster::worker
