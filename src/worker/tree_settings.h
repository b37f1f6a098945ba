/// What a training of trees is told: checked, and in LightGBM's words. No torch.
#pragma once

#include "worker/boosted_trees.h"

#include <string>

namespace muster::worker {

/// Throws std::invalid_argument with `text` unless `condition`.
void require_training(bool condition, const std::string& text);

/// Throws std::invalid_argument, naming what cannot be meant.
void check_training(const TreeData& data, const TreeObjective& objective, const TreeParameters& parameters);

/// Returns LightGBM's parameters, but for threads and members: what all members have the same of. Gradients are given
/// to LightGBM, so its objective is "custom".
[[nodiscard]] std::string
tree_settings(const TreeData& data, const TreeObjective& objective, const TreeParameters& parameters);

} // namespace muster::worker
