/// EarlyStopping: ends a training that gets no better, and goes back to its best epoch.
#pragma once

#include "model/recipe.h"
#include "model/score.h"
#include "worker/best_weights.h"
#include "worker/program.h"
#include "worker/ranks.h"

#include <cstdint>
#include <span>

namespace muster::worker {

/// Watches one metric of the validation rows after each epoch. References outlive it. One thread; with several ranks,
/// all call it alike.
class EarlyStopping {
public:
    /// `recipe` has early_stopping. `file` is where the best weights are kept, see BestWeights.
    EarlyStopping(const Recipe& recipe, const ModelProgram& program, Ranks& ranks, int file);

    /// Takes the scores of an epoch, those of rank 0 for all ranks, and keeps the weights when they are the best so
    /// far. Returns whether `patience` epochs have passed since the best one. Throws what the group and BestWeights
    /// throw.
    [[nodiscard]] bool enough_after(std::int64_t epoch, std::span<const Score> validation);
    /// Puts the weights of the best epoch back, unless it was the last one. Returns the best epoch, from 0 on; the last
    /// one when the metric was never defined.
    std::int64_t go_back();

private:
    [[nodiscard]] bool is_better(std::span<const Score> validation);

    RecipeEarlyStopping wanted_;
    Metric metric_;
    const ModelProgram& program_;
    Ranks& ranks_;
    BestWeights weights_;
    double best_score_{};         ///< at rank 0
    std::int64_t best_epoch_{-1}; ///< none yet
    std::int64_t last_epoch_{-1};
};

} // namespace muster::worker
