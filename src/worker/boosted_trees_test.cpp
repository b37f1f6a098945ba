#include "worker/boosted_trees.h"
#include "worker/leaf_quantiles.h"
#include "worker/testing_trees.h"
#include "worker/tree_model.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace muster::worker {
namespace {

using Shares = std::vector<std::size_t>;

const std::vector<Shares> uneven{{20, 80}, {10, 65, 25}};

TreeObjective of(TreeLoss loss) {
    return {.loss = loss, .alpha = 0.8, .classes = 3};
}

double mean_square(const TreeTable& table, const std::vector<double>& raw) {
    double sum = 0.0;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        const double difference = raw[i] - table.target[static_cast<std::size_t>(table.validation()[i])];
        sum += difference * difference;
    }
    return sum / static_cast<double>(raw.size());
}

/// The share of pairs, of a row of class 1 and one of class 0, in the right order.
double area_under_curve(const TreeTable& table, const std::vector<double>& raw) {
    std::vector<std::size_t> order(raw.size());
    std::iota(order.begin(), order.end(), std::size_t{});
    std::ranges::sort(order, {}, [&](std::size_t i) { return raw[i]; });
    double zeros = 0.0;
    double ones = 0.0;
    double right = 0.0;
    for (const std::size_t i : order) {
        if (table.target[static_cast<std::size_t>(table.validation()[i])] == 0.0F) {
            zeros += 1.0;
        } else {
            ones += 1.0;
            right += zeros;
        }
    }
    return right / (zeros * ones);
}

/// Of counts, but for what does not depend on the scores.
double mean_log_likelihood(const TreeTable& table, const std::vector<double>& raw) {
    double sum = 0.0;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        sum += table.target[static_cast<std::size_t>(table.validation()[i])] * raw[i] - std::exp(raw[i]);
    }
    return sum / static_cast<double>(raw.size());
}

double accuracy(const TreeTable& table, const std::vector<double>& raw) {
    const std::size_t rows = table.validation().size();
    double right = 0.0;
    for (std::size_t i = 0; i < rows; ++i) {
        const auto first = raw.begin() + static_cast<long>(i * 3);
        const auto best = static_cast<float>(std::max_element(first, first + 3) - first);
        right += best == table.target[static_cast<std::size_t>(table.validation()[i])] ? 1.0 : 0.0;
    }
    return right / static_cast<double>(rows);
}

TEST(BoostedTrees, learn) {
    const TreeTable table{3000, TreeLoss::l2};
    const auto grown = grow_with(table, of(TreeLoss::l2), small_trees(), {100}).front();
    EXPECT_EQ(grown.iterations, 20);
    const std::vector<double> mean(table.validation().size(), 0.6);
    EXPECT_LT(mean_square(table, grown.raw), 0.35 * mean_square(table, mean));
}

TEST(BoostedTrees, are_the_same_text_however_rows_are_divided) {
    MUSTER_NEEDS_MEMBERS();
    for (const TreeLoss loss : {TreeLoss::l2, TreeLoss::l1, TreeLoss::quantile}) {
        const TreeTable table{3000, loss};
        const auto alone = grow_with(table, of(loss), small_trees(), {100}).front();
        for (const Shares& shares : uneven) {
            for (const GrownTrees& grown : grow_with(table, of(loss), small_trees(), shares)) {
                EXPECT_EQ(grown.text, alone.text) << of(loss).text();
                EXPECT_EQ(grown.digest, alone.digest);
                EXPECT_EQ(grown.raw, alone.raw);
            }
        }
    }
}

TEST(BoostedTrees, are_the_same_text_with_any_number_of_threads) {
    const TreeTable table{3000, TreeLoss::binary};
    TreeParameters parameters = small_trees();
    const auto one = grow_with(table, of(TreeLoss::binary), parameters, {100}).front();
    parameters.threads = 3;
    EXPECT_EQ(grow_with(table, of(TreeLoss::binary), parameters, {100}).front().text, one.text);
    EXPECT_NE(one.text.find("Tree=19"), std::string::npos);
}

TEST(BoostedTrees, of_classes_and_counts_are_as_good_however_rows_are_divided) {
    MUSTER_NEEDS_MEMBERS();
    for (const TreeLoss loss : {TreeLoss::binary, TreeLoss::multiclass, TreeLoss::poisson}) {
        const TreeTable table{20'000, loss};
        // With more, what LightGBM takes for a leaf's rows decides, and that is another estimate for several members.
        TreeParameters parameters = small_trees();
        parameters.min_rows_in_leaf = 1;
        const auto quality = [&](const GrownTrees& grown) {
            switch (loss) {
            case TreeLoss::binary:
                return area_under_curve(table, grown.raw);
            case TreeLoss::multiclass:
                return accuracy(table, grown.raw);
            default:
                return mean_log_likelihood(table, grown.raw);
            }
        };
        const auto alone = grow_with(table, of(loss), parameters, {100}).front();
        EXPECT_GT(quality(alone), 0.7) << of(loss).text();
        std::optional<std::string> first;
        for (const Shares& shares : uneven) {
            for (const GrownTrees& grown : grow_with(table, of(loss), parameters, shares)) {
                EXPECT_NEAR(quality(grown), quality(alone), 2e-3) << of(loss).text();
                EXPECT_EQ(grown.text, first.value_or(grown.text)) << "among several members it is the same text";
                first = grown.text;
            }
        }
    }
}

TEST(BoostedTrees, see_the_same_sample_of_rows_and_columns_however_rows_are_divided) {
    MUSTER_NEEDS_MEMBERS();
    const TreeTable table{3000, TreeLoss::l1};
    TreeParameters parameters = small_trees();
    parameters.row_sampling = 0.6;
    parameters.column_sampling = 0.7;
    const auto two = grow_with(table, of(TreeLoss::l1), parameters, uneven[0]);
    const auto three = grow_with(table, of(TreeLoss::l1), parameters, uneven[1]);
    EXPECT_EQ(two[0].text, two[1].text);
    EXPECT_EQ(two[0].text, three[2].text);
    EXPECT_NE(two[0].text, grow_with(table, of(TreeLoss::l1), small_trees(), {100})[0].text);
}

TEST(BoostedTrees, allow_a_member_without_rows) {
    MUSTER_NEEDS_MEMBERS();
    const TreeTable table{2000, TreeLoss::l2};
    const auto alone = grow_with(table, of(TreeLoss::l2), small_trees(), {100}).front();
    for (const Shares& shares : {Shares{0, 100}, Shares{40, 0, 60}}) {
        for (const GrownTrees& grown : grow_with(table, of(TreeLoss::l2), small_trees(), shares)) {
            EXPECT_EQ(grown.text, alone.text);
        }
    }
}

TEST(BoostedTrees, have_the_initial_score_in_the_text) {
    for (const TreeLoss loss : {TreeLoss::l2, TreeLoss::quantile, TreeLoss::poisson, TreeLoss::multiclass}) {
        const TreeTable table{2000, loss};
        const auto grown = grow_with(table, of(loss), small_trees(), {100}).front();
        const auto model = TreeModel::parse(grown.text);
        ASSERT_TRUE(model) << model.error().text();
        EXPECT_EQ(model->predict_raw(table.validation_features()), grown.raw) << of(loss).text();
    }
}

TEST(BoostedTrees, can_be_stopped_in_between) {
    const TreeTable table{2000, TreeLoss::multiclass};
    TreeParameters parameters = small_trees();
    BoostedTrees trees{table.data(table.training()), of(TreeLoss::multiclass), parameters, nullptr};
    EXPECT_THROW((void)trees.text(1), std::invalid_argument);
    std::vector<double> scores(table.validation().size() * 3);
    for (int i = 0; i < 6; ++i) {
        ASSERT_TRUE(trees.grow());
        trees.add_newest(table.validation(), scores);
        EXPECT_EQ(scores, trees.predict_raw(table.validation()));
    }
    const auto model = TreeModel::parse(trees.text(4));
    ASSERT_TRUE(model) << model.error().text();
    EXPECT_EQ(model->iterations(), 4);
    EXPECT_THROW((void)trees.text(7), std::invalid_argument);

    parameters.trees = 4;
    BoostedTrees fewer{table.data(table.training()), of(TreeLoss::multiclass), parameters, nullptr};
    const GrownTrees grown = grow_all(fewer, table);
    EXPECT_EQ(grown.iterations, 4);
    EXPECT_EQ(grown.text, trees.text(4));
}

TEST(BoostedTrees, of_a_constant_target_are_that_constant) {
    MUSTER_NEEDS_MEMBERS();
    TreeTable table{500, TreeLoss::l2};
    std::ranges::fill(table.target, 3.25F);
    for (const Shares& shares : {Shares{100}, Shares{30, 70}}) {
        for (const GrownTrees& grown : grow_with(table, of(TreeLoss::l2), small_trees(), shares)) {
            EXPECT_EQ(grown.iterations, 1);
            EXPECT_EQ(grown.raw, std::vector<double>(table.validation().size(), 3.25));
            const auto model = TreeModel::parse(grown.text);
            ASSERT_TRUE(model) << model.error().text();
            EXPECT_EQ(model->predict_raw(table.validation_features()), grown.raw);
        }
    }
}

TEST(BoostedTrees, of_columns_that_say_nothing_are_the_mean) {
    TreeTable table{500, TreeLoss::l2};
    std::ranges::fill(table.features, 1.0F);
    const GrownTrees grown = grow_with(table, of(TreeLoss::l2), small_trees(), {100}).front();
    EXPECT_EQ(grown.iterations, 1);
    EXPECT_EQ(TreeModel::parse(grown.text).value().predict_raw(table.validation_features()), grown.raw);
}

TEST(BoostedTrees, end_with_the_group_and_the_thread_can_train_again) {
    MUSTER_NEEDS_MEMBERS();
    const TreeTable table{2000, TreeLoss::l2};
    const auto half = table.training().size() / 2;
    const auto alone = grow_with(table, of(TreeLoss::l2), small_trees(), {100}).front();
    // Bytes that the lost member has sent: at the beginning, and somewhere inside of a tree.
    for (const std::int64_t sent : {0, 1, 20'000, 50'000, 90'000, 200'000}) {
        process_group::testing::run_ranks(3, [&](const std::shared_ptr<collective::Group>& group) {
            TreeParameters parameters = small_trees();
            parameters.trees = 100'000;
            parameters.learning_rate = 0.001;
            const std::span<const std::int64_t> own[] = {
                table.training().first(half), table.training().subspan(half), {}};
            std::thread other;
            if (group->rank() == 1) {
                other = std::thread{[&] {
                    const Deadline deadline = Deadline::after(std::chrono::seconds{20});
                    while (group->traffic().bytes_sent < sent && !deadline.passed()) {
                        std::this_thread::yield();
                    }
                    group->abort("the member is gone");
                }};
            }
            std::unique_ptr<BoostedTrees> trees;
            EXPECT_THROW(
                {
                    trees = std::make_unique<BoostedTrees>(
                        table.data(own[group->rank()]), of(TreeLoss::l2), parameters, group.get());
                    while (trees->grow()) {
                    }
                },
                collective::GroupFailed);
            if (trees) {
                EXPECT_THROW((void)trees->grow(), std::logic_error);
            }
            trees.reset();
            BoostedTrees again{table.data(table.training()), of(TreeLoss::l2), small_trees(), nullptr};
            EXPECT_EQ(grow_all(again, table).text, alone.text);
            if (other.joinable()) {
                other.join();
            }
        });
    }
}

TEST(BoostedTrees, go_on_after_trees_that_come_first) {
    MUSTER_NEEDS_MEMBERS();
    for (const TreeLoss loss : {TreeLoss::l2, TreeLoss::l1, TreeLoss::multiclass}) {
        const TreeTable table{3000, loss};
        const auto whole = grow_with(table, of(loss), small_trees(), {100}).front();
        TreeParameters few = small_trees();
        few.trees = 8;
        const std::string start = grow_with(table, of(loss), few, {100}).front().text;
        std::vector<std::string> texts(2);
        process_group::testing::run_ranks(2, [&](const std::shared_ptr<collective::Group>& group) {
            TreeData data =
                table.data(group->rank() == 0 ? table.training().first(700) : table.training().subspan(700));
            data.start = start;
            BoostedTrees trees{data, of(loss), small_trees(), group.get()};
            EXPECT_EQ(trees.iterations(), 8);
            EXPECT_EQ(trees.text(8).substr(0, 40), start.substr(0, 40));
            const GrownTrees grown = grow_all(trees, table);
            texts[static_cast<std::size_t>(group->rank())] = grown.text;
            EXPECT_EQ(grown.iterations, 20);
            const auto model = TreeModel::parse(grown.text);
            ASSERT_TRUE(model) << model.error().text();
            EXPECT_EQ(model->predict_raw(table.validation_features()), grown.raw);
            double difference = 0.0; // The same rows are summed in another order, which may move a split.
            for (std::size_t i = 0; i < grown.raw.size(); ++i) {
                difference += std::abs(grown.raw[i] - whole.raw[i]) / static_cast<double>(grown.raw.size());
            }
            EXPECT_LT(difference, loss == TreeLoss::multiclass ? 0.05 : 0.01);
        });
        EXPECT_EQ(texts[0], texts[1]);
    }
}

TEST(BoostedTrees, refuse_to_go_on_after_others) {
    const TreeTable table{500, TreeLoss::l2};
    TreeData data = table.data(table.training());
    data.start = grow_with(table, of(TreeLoss::l2), small_trees(), {100}).front().text;
    EXPECT_THROW((BoostedTrees{data, of(TreeLoss::l1), small_trees(), nullptr}), std::invalid_argument);
    data.start.resize(data.start.size() / 2);
    EXPECT_THROW((BoostedTrees{data, of(TreeLoss::l2), small_trees(), nullptr}), std::invalid_argument);
}

TEST(BoostedTrees, weigh_rows_by_class) {
    TreeTable table{3000, TreeLoss::binary};
    TreeObjective objective = of(TreeLoss::binary);
    const auto share_of_ones = [&] {
        const auto grown = grow_with(table, objective, small_trees(), {100}).front();
        double sum = 0.0;
        for (const double raw : grown.raw) {
            sum += 1.0 / (1.0 + std::exp(-raw));
        }
        return sum / static_cast<double>(grown.raw.size());
    };
    const double plain = share_of_ones();
    objective.class_weights = {2.0, 2.0};
    EXPECT_NEAR(share_of_ones(), plain, 0.005);
    objective.class_weights = {1.0, 4.0};
    const double heavier = share_of_ones();
    EXPECT_GT(heavier, plain + 0.02);
    const std::vector<float> targets{0.0F, 0.0F, 1.0F};
    EXPECT_NEAR(initial_scores(objective, targets).front(), std::log(4.0 / 2.0), 1e-12);
    objective.class_weights = {1.0};
    EXPECT_THROW((void)share_of_ones(), std::invalid_argument);
}

TEST(BoostedTrees, refuse_members_that_do_not_agree) {
    MUSTER_NEEDS_MEMBERS();
    const TreeTable table{1000, TreeLoss::l2};
    TreeTable other{1000, TreeLoss::l2};
    other.target[0] += 1.0F;
    process_group::testing::run_ranks(2, [&](const std::shared_ptr<collective::Group>& group) {
        const auto own = table.training().subspan(group->rank() == 0 ? 0 : 400, 400);
        const auto train = [&](const TreeTable& own_table, const TreeParameters& parameters) {
            BoostedTrees trees{own_table.data(own), of(TreeLoss::l2), parameters, group.get()};
            return trees.grow();
        };
        TreeParameters parameters = small_trees();
        parameters.leaves += group->rank();
        EXPECT_THROW((void)train(table, parameters), std::invalid_argument);
        EXPECT_THROW((void)train(group->rank() == 0 ? table : other, small_trees()), std::invalid_argument);
        EXPECT_TRUE(train(table, small_trees()));
        const TreeTable larger{1100, TreeLoss::l2};
        EXPECT_THROW((void)train(larger, small_trees()), std::invalid_argument) << "rows of nobody";
    });
}

TEST(BoostedTrees, refuse_what_cannot_be_meant) {
    TreeTable table{500, TreeLoss::binary};
    const auto train = [&](const TreeData& data, TreeObjective objective, const TreeParameters& parameters) {
        BoostedTrees trees{data, objective, parameters, nullptr};
    };
    const TreeData good = table.data(table.training());
    EXPECT_THROW(train(good, of(TreeLoss::binary), {.leaves = 1}), std::invalid_argument);
    EXPECT_THROW(train(good, of(TreeLoss::binary), {.row_sampling = 0.0}), std::invalid_argument);
    EXPECT_THROW(train(good, {.loss = TreeLoss::quantile, .alpha = 1.0}, {}), std::invalid_argument);
    TreeData bad = good;
    bad.categorical = {7};
    EXPECT_THROW(train(bad, of(TreeLoss::binary), {}), std::invalid_argument);
    bad = good;
    bad.columns = 6;
    EXPECT_THROW(train(bad, of(TreeLoss::binary), {}), std::invalid_argument);
    const std::vector<std::int64_t> beyond{500};
    bad = good;
    bad.own_rows = beyond;
    EXPECT_THROW(train(bad, of(TreeLoss::binary), {}), std::invalid_argument);
    table.target[3] = 0.5F;
    EXPECT_THROW(train(good, of(TreeLoss::binary), {}), std::invalid_argument);
    EXPECT_THROW(train(good, of(TreeLoss::multiclass), {}), std::invalid_argument);
    table.target[3] = -1.0F;
    EXPECT_THROW(train(good, of(TreeLoss::poisson), {}), std::invalid_argument);
    table.target[3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW(train(good, of(TreeLoss::l2), {}), std::invalid_argument);
}

TEST(LeafQuantiles, are_those_of_all_rows) {
    SplitMix random{3};
    std::vector<double> values;
    std::vector<int> leaves;
    for (int i = 0; i < 501; ++i) {
        values.push_back(static_cast<double>(random.below(2000)) / 7.0 - 140.0);
        leaves.push_back(static_cast<int>(random.below(5)) - 1);
    }
    values[7] = -0.0;
    for (const double quantile : {0.01, 0.5, 0.8, 0.999}) {
        std::vector<double> expected;
        for (int leaf = 0; leaf < 4; ++leaf) {
            std::vector<double> of_leaf;
            for (std::size_t i = 0; i < values.size(); ++i) {
                if (leaves[i] == leaf) {
                    of_leaf.push_back(values[i]);
                }
            }
            expected.push_back(quantile_of(of_leaf, quantile));
        }
        expected.push_back(0.0); // no row
        EXPECT_EQ(leaf_quantiles(nullptr, values, leaves, 5, quantile), expected);
        process_group::testing::run_ranks(2, [&](const std::shared_ptr<collective::Group>& group) {
            const std::size_t begin = group->rank() == 0 ? 0 : 77;
            const std::size_t count = group->rank() == 0 ? 77 : values.size() - 77;
            EXPECT_EQ(leaf_quantiles(group.get(),
                                     std::span{values}.subspan(begin, count),
                                     std::span{leaves}.subspan(begin, count),
                                     5,
                                     quantile),
                      expected);
        });
    }
    EXPECT_EQ(quantile_of({4.0}, 0.3), 4.0);
    EXPECT_EQ(quantile_of({1.0, 3.0, 2.0}, 0.5), 2.0);
    EXPECT_EQ(quantile_of({1.0, 2.0}, 0.25), 1.25);
}

} // namespace
} // namespace muster::worker
