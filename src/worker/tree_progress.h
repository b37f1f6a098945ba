/// How far a training of trees has come: what is the best so far, and where another one goes on. No torch.
#pragma once

#include "collective/group.h"
#include "model/recipe.h"
#include "model/score.h"

#include <cstdint>
#include <span>
#include <string>

namespace muster::worker {

/// Trees of a training that ended before its time: where the next generation of the job goes on.
struct TreeProgress {
    int iterations{};
    std::string text{}; ///< of LightGBM's format; empty: none
};

/// Returns the most trees that a member has, at all members; "" when none has any. All members call it. Throws what
/// the group throws; std::runtime_error when a member says what cannot be.
///   group  null: alone
[[nodiscard]] std::string common_start(collective::Group* group, const TreeProgress& own);

/// Watches one metric of the validation rows from tree to tree.
class BestTrees {
public:
    /// `recipe` has early_stopping.
    explicit BestTrees(const Recipe& recipe);

    /// Takes the scores after so many trees.
    void take(int iterations, std::span<const Score> scores);
    /// Whether `patience` trees have passed since the best score.
    [[nodiscard]] bool enough() const { return best_ > 0 && last_ - best_ >= patience_; }
    /// How many trees scored best; the last number, where the metric was never defined.
    [[nodiscard]] int best() const { return best_ > 0 ? best_ : last_; }

private:
    Metric metric_;
    std::int64_t patience_;
    double score_{};
    int best_{}; ///< 0: none yet
    int last_{};
};

} // namespace muster::worker
