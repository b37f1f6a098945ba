#include "worker/tree_problem.h"

#include "worker/class_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>

namespace muster::worker {
namespace {

/// LightGBM reads names until a space, and refuses what would end a JSON text.
std::string plain_name(const std::string& name) {
    std::string plain = name.empty() ? "_" : name;
    for (char& c : plain) {
        const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                          c == '_' || c == '.';
        c = kept ? c : '_';
    }
    return plain;
}

TreeLoss tree_loss(const Recipe& recipe, const Preprocessing& preprocessing) {
    switch (recipe.loss) {
    case Loss::l1:
        return TreeLoss::l1;
    case Loss::mse:
        return TreeLoss::l2;
    case Loss::quantile:
        return TreeLoss::quantile;
    case Loss::poisson:
        return TreeLoss::poisson;
    case Loss::cross_entropy:
    case Loss::binary_cross_entropy:
        break;
    }
    return preprocessing.outputs() == 1 ? TreeLoss::binary : TreeLoss::multiclass;
}

} // namespace

std::vector<std::int64_t> rows_of_sample(const Recipe& recipe) {
    if (!recipe.data.windows) {
        return {0};
    }
    std::vector<std::int64_t> before = recipe.data.windows->lags;
    for (std::int64_t lag = 0; lag < recipe.data.windows->length && recipe.data.windows->lags.empty(); ++lag) {
        before.push_back(lag);
    }
    std::ranges::reverse(before);
    return before;
}

std::vector<SampleColumn> columns_of_sample(const Recipe& recipe, const Preprocessing& preprocessing) {
    std::vector<SampleColumn> columns;
    std::int64_t position = 0;
    for (const std::int64_t before : rows_of_sample(recipe)) {
        for (std::size_t input = 0; input < preprocessing.inputs.size(); ++input) {
            const InputColumn& column = preprocessing.inputs[input];
            const bool kept = before == 0 || column.kind != ColumnKind::date;
            for (std::int64_t part = 0; part < encoded_columns(column); ++part, ++position) {
                if (kept) {
                    columns.push_back({.position = position, .before = before, .input = input, .part = part});
                }
            }
        }
    }
    return columns;
}

std::vector<std::string> sample_columns(const Recipe& recipe, const Preprocessing& preprocessing) {
    constexpr std::array<const char*, raw_date_columns> parts{".day", ".week"};
    std::vector<std::string> names;
    std::set<std::string> used;
    for (const SampleColumn& column : columns_of_sample(recipe, preprocessing)) {
        const InputColumn& input = preprocessing.inputs[column.input];
        std::string name = plain_name(input.name);
        name += input.kind == ColumnKind::date ? parts.at(static_cast<std::size_t>(column.part)) : "";
        name += column.before == 0 ? "" : fmt::format(".{}_before", column.before);
        std::string unique = name;
        for (int number = 2; !used.insert(unique).second; ++number) {
            unique = fmt::format("{}_{}", name, number);
        }
        names.push_back(unique);
    }
    return names;
}

TreeObjective tree_objective(const Recipe& recipe, const Preprocessing& preprocessing, std::span<const float> targets) {
    TreeObjective objective{.loss = tree_loss(recipe, preprocessing)};
    if (objective.loss == TreeLoss::quantile) {
        objective.alpha = recipe.quantile;
    }
    if (objective.loss == TreeLoss::multiclass) {
        objective.classes = static_cast<int>(preprocessing.outputs());
    }
    objective.class_weights = class_weights_of(recipe, preprocessing, targets);
    return objective;
}

TreeParameters tree_parameters(const Recipe& recipe, int threads) {
    const RecipeTrees& trees = recipe.model.trees.value();
    return {.trees = static_cast<int>(trees.trees),
            .leaves = static_cast<int>(trees.leaves),
            .learning_rate = trees.learning_rate,
            .min_rows_in_leaf = static_cast<int>(trees.min_rows_in_leaf),
            .bins = static_cast<int>(trees.bins),
            .depth = static_cast<int>(trees.depth),
            .l2 = trees.l2,
            .row_sampling = trees.row_sampling,
            .column_sampling = trees.column_sampling,
            .seed = recipe.seed,
            .threads = threads};
}

TreeSamples::TreeSamples(const Recipe& recipe,
                         const Preprocessing& preprocessing,
                         const Matrix& matrix,
                         std::span<const std::int64_t> ends)
    : matrix_{&matrix}, columns_{matrix.columns}, copied_{recipe.data.windows.has_value()} {
    if (!copied_) {
        ends_.assign(ends.begin(), ends.end());
        return;
    }
    const std::vector<SampleColumn> columns = columns_of_sample(recipe, preprocessing);
    columns_ = std::ssize(columns);
    features_.reserve(ends.size() * columns.size());
    target_.reserve(ends.size());
    for (const std::int64_t end : ends) {
        for (const SampleColumn& column : columns) {
            features_.push_back(matrix.row(end - column.before)[column.position % matrix.columns]);
        }
        target_.push_back(matrix.target_of(end));
    }
}

std::span<const float> TreeSamples::features() const {
    return copied_ ? std::span<const float>{features_} : matrix_->features.values();
}

std::span<const float> TreeSamples::target() const {
    return copied_ ? std::span<const float>{target_} : matrix_->target.values();
}

std::vector<int> category_columns(const Recipe& recipe, const Preprocessing& preprocessing) {
    std::vector<int> numbers;
    const std::vector<SampleColumn> columns = columns_of_sample(recipe, preprocessing);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (preprocessing.inputs[columns[i].input].kind == ColumnKind::category) {
            numbers.push_back(static_cast<int>(i));
        }
    }
    return numbers;
}

} // namespace muster::worker
