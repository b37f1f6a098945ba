/// A table to grow trees on, and trainings whose ranks are threads. Tests only.
#pragma once

#include "process_group/loopback_groups.h"
#include "worker/boosted_trees.h"
#include "worker/split_mix.h"
#include "worker/tree_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace muster::worker {

/// Rows whose targets follow from smooth, categorical, missing and constant columns, with noise.
struct TreeTable {
    static constexpr std::int64_t columns = 7;
    static constexpr int category_column = 4;

    explicit TreeTable(std::int64_t count, TreeLoss loss) : rows{count}, order(static_cast<std::size_t>(count)) {
        SplitMix random{11};
        const auto uniform = [&] { return static_cast<double>(random.next() >> 11U) * 0x1p-53; };
        for (std::int64_t row = 0; row < count; ++row) {
            double x[4];
            for (double& value : x) {
                value = uniform() * 4.0 - 2.0;
            }
            const auto category = static_cast<int>(random.below(9));
            const bool missing = uniform() < 0.2;
            const double effect = category % 3 == 0 ? 1.5 : -0.5;
            const double mean =
                std::sin(2.0 * x[0]) * x[1] + effect + (missing ? 1.0 : 0.4 * x[2]) + (x[3] > 0.0 ? x[3] : 0.0);
            const double noise = (uniform() + uniform() + uniform() - 1.5) * 0.8;
            for (int i = 0; i < 4; ++i) {
                features.push_back(i == 2 && missing ? std::numeric_limits<float>::quiet_NaN()
                                                     : static_cast<float>(x[i]));
            }
            features.push_back(static_cast<float>(category));
            features.push_back(3.0F);                                              // constant
            features.push_back(uniform() < 0.9 ? 0.0F : static_cast<float>(x[0])); // mostly zero
            target.push_back(target_of(loss, mean + noise));
        }
        std::iota(order.begin(), order.end(), 0);
    }

    static float target_of(TreeLoss loss, double value) {
        switch (loss) {
        case TreeLoss::poisson:
            return static_cast<float>(std::floor(std::exp(std::min(value, 3.0))));
        case TreeLoss::binary:
            return value > 0.6 ? 1.0F : 0.0F;
        case TreeLoss::multiclass:
            return value > 1.2 ? 2.0F : (value > 0.0 ? 1.0F : 0.0F);
        default:
            return static_cast<float>(value);
        }
    }

    /// The first four fifths of the rows are trained on, the rest validates.
    [[nodiscard]] std::span<const std::int64_t> training() const {
        return std::span{order}.first(order.size() * 4 / 5);
    }
    [[nodiscard]] std::span<const std::int64_t> validation() const {
        return std::span{order}.subspan(order.size() * 4 / 5);
    }
    [[nodiscard]] TreeData data(std::span<const std::int64_t> own) const {
        return {.features = features,
                .columns = columns,
                .target = target,
                .training_rows = training(),
                .own_rows = own,
                .categorical = {category_column}};
    }
    /// The validation rows, as doubles.
    [[nodiscard]] std::vector<double> validation_features() const {
        return {features.end() - static_cast<std::ptrdiff_t>(validation().size()) * columns, features.end()};
    }

    std::int64_t rows;
    std::vector<float> features;
    std::vector<float> target;
    std::vector<std::int64_t> order;
};

/// What one rank made.
struct GrownTrees {
    std::string text;
    std::string digest;
    int iterations{};
    std::vector<double> raw; ///< of the validation rows
};

inline TreeParameters small_trees() {
    return {.trees = 20, .leaves = 15, .min_rows_in_leaf = 10, .seed = 5};
}

/// At the beginning of a test in which several members train.
#define MUSTER_NEEDS_MEMBERS()                                                                                         \
    if (!TreeNetwork::can_train_together()) {                                                                          \
        GTEST_SKIP() << "this process has another malloc than glibc's";                                                \
    }

inline GrownTrees grow_all(BoostedTrees& trees, const TreeTable& table) {
    while (trees.grow()) {
    }
    return {.text = trees.text(trees.iterations()),
            .digest = trees.digest(),
            .iterations = trees.iterations(),
            .raw = trees.predict_raw(table.validation())};
}

/// Trains with these shares of the training rows, in percent, each rank in a thread.
inline std::vector<GrownTrees> grow_with(const TreeTable& table,
                                         const TreeObjective& objective,
                                         const TreeParameters& parameters,
                                         const std::vector<std::size_t>& percents) {
    std::vector<GrownTrees> results(percents.size());
    const auto body = [&](std::size_t rank, collective::Group* group) {
        const std::size_t before =
            std::accumulate(percents.begin(), percents.begin() + static_cast<long>(rank), std::size_t{});
        const std::size_t count = table.training().size();
        const std::size_t begin = count * before / 100;
        const std::size_t end = count * (before + percents[rank]) / 100;
        BoostedTrees trees{table.data(table.training().subspan(begin, end - begin)), objective, parameters, group};
        results[rank] = grow_all(trees, table);
    };
    if (percents.size() == 1) {
        body(0, nullptr);
    } else {
        process_group::testing::run_ranks(static_cast<int>(percents.size()),
                                          [&](const std::shared_ptr<collective::Group>& group) {
                                              body(static_cast<std::size_t>(group->rank()), group.get());
                                          });
    }
    return results;
}

} // namespace muster::worker
