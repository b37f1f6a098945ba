/// Trains boosted trees alone or with others, in layout "whole": what trainer.h is for networks.
#pragma once

#include "base/result.h"
#include "collective/group.h"
#include "model/messages.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/matrix.h"
#include "worker/trainer.h"
#include "worker/tree_progress.h"

#include <string>

namespace muster::worker {

/// Boosted trees as they were trained.
struct TrainedTrees {
    Done done;        ///< as of train()
    std::string text; ///< of the best iterations, LightGBM's format
};

/// Trains the trees of `recipe` and evaluates them. Steps are trees (of each output), a batch is all training rows, of
/// which a rank computes its part by `order.batch_rows`. Runs on the calling thread; all members pass the same recipe,
/// data and batch_rows.
///   group     what `order.group` is made of; null: alone
///   progress  where some member has trees of an earlier generation, all go on after the most of them. When a member
///             is lost, or one is asked to stop, it becomes what there is
/// Early stopping counts trees. Evaluations are filled at rank 0: "trained", "naive" and, of windows, "persistence".
/// Errors: those of train(). Throws what the group throws, when a member is lost; std::invalid_argument when recipe
/// and data cannot be meant; std::runtime_error with LightGBM's words.
[[nodiscard]] Result<TrainedTrees> train_trees(const Recipe& recipe,
                                               const Preprocessing& preprocessing,
                                               const MatrixSet& matrices,
                                               const TrainingOrder& order,
                                               collective::Group* group,
                                               TreeProgress& progress);

} // namespace muster::worker
