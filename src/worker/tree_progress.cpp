#include "worker/tree_progress.h"

#include "worker/tree_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace muster::worker {

std::string common_start(collective::Group* group, const TreeProgress& own) {
    if (group == nullptr || group->size() == 1) {
        return own.text;
    }
    const auto size = static_cast<std::size_t>(group->size());
    const std::array<std::int64_t, 2> mine{own.text.empty() ? 0 : own.iterations, std::ssize(own.text)};
    std::vector<std::array<std::int64_t, 2>> all(size);
    const std::vector<std::size_t> lengths(size, sizeof mine);
    group->all_gather(std::as_bytes(std::span{mine}), std::as_writable_bytes(std::span{all}), lengths);
    const auto most = std::ranges::max_element(all, {}, [](const auto& each) { return each[0]; });
    if ((*most)[0] == 0) {
        return {};
    }
    if ((*most)[1] < 1 || static_cast<std::size_t>((*most)[1]) > TreeModelLimits{}.text_bytes_max) {
        throw std::runtime_error{"a member says that its trees are longer than any model"};
    }
    std::string text = own.text;
    const auto root = static_cast<int>(most - all.begin());
    text.resize(static_cast<std::size_t>((*most)[1]));
    group->broadcast(std::as_writable_bytes(std::span{text}), root);
    return text;
}

BestTrees::BestTrees(const Recipe& recipe)
    : metric_{*metric_of(watched_metric(recipe))}, patience_{recipe.early_stopping.value().patience} {}

void BestTrees::take(int iterations, std::span<const Score> scores) {
    last_ = iterations;
    const auto found = std::ranges::find(scores, metric_.name, &Score::metric);
    if (found == scores.end() || !std::isfinite(found->value)) {
        return;
    }
    if (best_ == 0 || (metric_.higher_is_better ? found->value > score_ : found->value < score_)) {
        best_ = iterations;
        score_ = found->value;
    }
}

} // namespace muster::worker
