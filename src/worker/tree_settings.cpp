#include "worker/tree_settings.h"

#include "worker/split_mix.h"
#include "worker/tree_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>

namespace muster::worker {
namespace {

void check(const TreeParameters& parameters) {
    const auto share = [](double value) { return value > 0.0 && value <= 1.0; };
    require_training(parameters.trees >= 1, "there is no tree");
    require_training(parameters.leaves >= 2 && parameters.leaves <= 131'072, "a tree has 2 to 131072 leaves");
    require_training(parameters.learning_rate > 0.0 && std::isfinite(parameters.learning_rate),
                     "the learning rate is above 0");
    require_training(parameters.min_rows_in_leaf >= 1, "a leaf has at least 1 row");
    require_training(parameters.bins >= 2 && parameters.bins <= 65'535, "a column has 2 to 65535 bins");
    require_training(parameters.depth >= 0, "no depth is negative");
    require_training(parameters.l2 >= 0.0 && std::isfinite(parameters.l2), "l2 is not negative");
    require_training(share(parameters.row_sampling) && share(parameters.column_sampling),
                     "sampling is above 0, and at most 1");
    require_training(parameters.threads >= 1, "there is at least 1 thread");
}

void check(const TreeData& data, const TreeObjective& objective) {
    require_training(data.columns >= 1 && data.columns <= TreeModelLimits{}.columns_max,
                     "the number of columns is impossible");
    require_training(
        data.features.size() == data.target.size() * static_cast<std::size_t>(data.columns),
        fmt::format("{} numbers are not {} rows of {}", data.features.size(), data.target.size(), data.columns));
    require_training(data.own_rows.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
                     "a member has 2^31 rows at most");
    for (const auto rows : {data.training_rows, data.own_rows}) {
        require_training(
            std::ranges::all_of(
                rows, [&](std::int64_t row) { return row >= 0 && static_cast<std::size_t>(row) < data.target.size(); }),
            "a row does not exist");
    }
    for (const int column : data.categorical) {
        require_training(column >= 0 && column < data.columns,
                         fmt::format("categorical column {} does not exist", column));
    }
    require_training(objective.loss != TreeLoss::multiclass || objective.classes >= 2, "there are at least 2 classes");
    require_training(
        objective.class_weights.empty() ||
            (objective.loss == TreeLoss::multiclass && std::ssize(objective.class_weights) == objective.classes) ||
            (objective.loss == TreeLoss::binary && objective.class_weights.size() == 2),
        "there is one weight for each class");
    require_training(std::ranges::all_of(objective.class_weights,
                                         [](double weight) { return weight > 0.0 && std::isfinite(weight); }),
                     "weights of classes are above 0");
    require_training(objective.alpha > 0.0 && objective.alpha < 1.0, "alpha is between 0 and 1");
}

} // namespace

void require_training(bool condition, const std::string& text) {
    if (!condition) {
        throw std::invalid_argument{"boosted trees: " + text};
    }
}

void check_training(const TreeData& data, const TreeObjective& objective, const TreeParameters& parameters) {
    check(parameters);
    check(data, objective);
}

std::string tree_settings(const TreeData& data, const TreeObjective& objective, const TreeParameters& parameters) {
    std::string text = fmt::format(
        "objective=custom metric=none boost_from_average=false verbosity=-1 deterministic=true force_col_wise=true "
        "enable_bundle=false num_class={} num_leaves={} learning_rate={} min_data_in_leaf={} max_bin={} max_depth={} "
        "lambda_l2={} feature_fraction={} feature_fraction_seed={}",
        objective.outputs(),
        parameters.leaves,
        parameters.learning_rate,
        parameters.min_rows_in_leaf,
        parameters.bins,
        parameters.depth == 0 ? -1 : parameters.depth,
        parameters.l2,
        parameters.column_sampling,
        SplitMix{parameters.seed}.below(std::numeric_limits<std::int32_t>::max()));
    if (!data.categorical.empty()) {
        text += fmt::format(" categorical_feature={}", fmt::join(data.categorical, ","));
    }
    return text;
}

} // namespace muster::worker
