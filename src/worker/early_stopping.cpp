#include "worker/early_stopping.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace muster::worker {

EarlyStopping::EarlyStopping(const Recipe& recipe, const ModelProgram& program, Ranks& ranks, int file)
    : wanted_{recipe.early_stopping.value()}, metric_{*metric_of(watched_metric(recipe))}, program_{program},
      ranks_{ranks}, weights_{file} {}

bool EarlyStopping::is_better(std::span<const Score> validation) {
    const auto found = std::ranges::find(validation, metric_.name, &Score::metric);
    if (found == validation.end() || !std::isfinite(found->value)) {
        return false;
    }
    const bool better =
        best_epoch_ < 0 || (metric_.higher_is_better ? found->value > best_score_ : found->value < best_score_);
    if (better) {
        best_score_ = found->value;
    }
    return better;
}

bool EarlyStopping::enough_after(std::int64_t epoch, std::span<const Score> validation) {
    last_epoch_ = epoch;
    // Some ranks may not know the scores: the first one says what follows from them.
    at::Tensor better = at::zeros({1}, at::kDouble);
    better.fill_(ranks_.rank() == 0 && is_better(validation) ? 1.0 : 0.0);
    ranks_.sum(better);
    if (better.item<double>() > 0.0) {
        weights_.keep(program_.parameters());
        best_epoch_ = epoch;
    }
    return best_epoch_ >= 0 && epoch - best_epoch_ >= wanted_.patience;
}

std::int64_t EarlyStopping::go_back() {
    if (best_epoch_ < 0 || best_epoch_ == last_epoch_) {
        return last_epoch_;
    }
    weights_.restore(program_.parameters());
    return best_epoch_;
}

} // namespace muster::worker
