#include "worker/lightgbm_api.h"
#include "worker/testing_trees.h"
#include "worker/tree_model.h"
#include "worker/tree_network.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace muster::worker {
namespace {

/// What LightGBM itself predicts with a text.
std::vector<double>
lightgbm_raw(const std::string& text, const std::vector<double>& rows, std::int64_t columns, int outputs) {
    void* booster = nullptr;
    int iterations = 0;
    check_lightgbm(lightgbm::LGBM_BoosterLoadModelFromString(text.c_str(), &iterations, &booster));
    const auto count = static_cast<std::int32_t>(rows.size() / static_cast<std::size_t>(columns));
    std::vector<double> scores(static_cast<std::size_t>(count * outputs));
    std::int64_t size = 0;
    check_lightgbm(lightgbm::LGBM_BoosterPredictForMat(booster,
                                                       rows.data(),
                                                       lightgbm::type_float64,
                                                       count,
                                                       static_cast<std::int32_t>(columns),
                                                       1,
                                                       lightgbm::predict_raw_score,
                                                       0,
                                                       -1,
                                                       "num_threads=1",
                                                       &size,
                                                       scores.data()));
    check_lightgbm(lightgbm::LGBM_BoosterFree(booster));
    return scores;
}

GrownTrees grown_with(const TreeTable& table, TreeLoss loss) {
    return grow_with(table, {.loss = loss, .alpha = 0.3, .classes = 3}, small_trees(), {100}).front();
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), by);
}

/// A stump on column 1 of two, written by hand.
std::string stump() {
    return "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\n"
           "objective=regression\nfeature_names=a b\nfeature_infos=none none\n\n"
           "Tree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold=0.5\ndecision_type=8\nleft_child=-1\n"
           "right_child=-2\nleaf_value=-1 2\nis_linear=0\nshrinkage=1\n\n\nend of trees\n";
}

TEST(TreeModel, predicts_what_lightgbm_predicts) {
    for (const TreeLoss loss :
         {TreeLoss::l2, TreeLoss::l1, TreeLoss::quantile, TreeLoss::poisson, TreeLoss::binary, TreeLoss::multiclass}) {
        const TreeTable table{1500, loss};
        const GrownTrees grown = grown_with(table, loss);
        const auto model = TreeModel::parse(grown.text);
        ASSERT_TRUE(model) << model.error().text();
        EXPECT_EQ(model->objective().loss, loss);
        EXPECT_EQ(model->columns(), TreeTable::columns);
        EXPECT_EQ(model->iterations(), grown.iterations);
        std::vector<double> rows = table.validation_features();
        // What training has not seen: other categories, missing ones, huge and endless values.
        const double strange[] = {-3.0, 2.5, 40.0, 1e300, -1e300, HUGE_VAL, -HUGE_VAL, NAN, -0.5, 1e-36};
        for (const double value : strange) {
            for (std::int64_t column = 0; column < TreeTable::columns; ++column) {
                std::vector<double> row(rows.begin(), rows.begin() + TreeTable::columns);
                // LightGBM converts a category to int, which those are too large for.
                row[static_cast<std::size_t>(column)] =
                    column == TreeTable::category_column && std::abs(value) > 1e9 ? 50.0 : value;
                rows.insert(rows.end(), row.begin(), row.end());
            }
        }
        EXPECT_EQ(model->predict_raw(rows), lightgbm_raw(grown.text, rows, model->columns(), model->outputs()));
    }
}

/// Writes models and what they predict to MUSTER_TREES_FOLDER, where there is one, for tree_model_test.py.
TEST(TreeModel, predicts_what_python_predicts) {
    const char* folder = std::getenv("MUSTER_TREES_FOLDER"); // NOLINT(concurrency-mt-unsafe): one thread
    if (folder == nullptr) {
        GTEST_SKIP() << "nobody asked for the texts";
    }
    for (const TreeLoss loss :
         {TreeLoss::l2, TreeLoss::l1, TreeLoss::quantile, TreeLoss::poisson, TreeLoss::binary, TreeLoss::multiclass}) {
        const TreeTable table{1500, loss};
        const GrownTrees grown = grown_with(table, loss);
        const auto model = TreeModel::parse(grown.text).value();
        std::ofstream{fmt::format("{}/{}.txt", folder, static_cast<int>(loss))} << grown.text;
        std::ofstream numbers{fmt::format("{}/{}.numbers", folder, static_cast<int>(loss)), std::ios::binary};
        const auto rows = table.validation_features();
        for (const auto& list : {rows, model.predict_raw(rows), model.predict(rows)}) {
            numbers.write(reinterpret_cast<const char*>(list.data()),
                          static_cast<std::streamsize>(list.size() * sizeof(double)));
        }
        EXPECT_TRUE(numbers.good());
    }
}

TEST(TreeModel, gives_probabilities_and_means) {
    const TreeTable table{1000, TreeLoss::multiclass};
    const auto model = TreeModel::parse(grown_with(table, TreeLoss::multiclass).text).value();
    const auto classes = model.predict(table.validation_features());
    for (std::size_t i = 0; i < classes.size(); i += 3) {
        EXPECT_NEAR(classes[i] + classes[i + 1] + classes[i + 2], 1.0, 1e-12);
    }
    const std::vector<double> row{0.0, 3.0};
    const auto predicted = [&](const std::string& objective) {
        return TreeModel::parse(replaced(stump(), "=regression", "=" + objective)).value().predict(row).front();
    };
    EXPECT_EQ(predicted("regression"), 2.0);
    EXPECT_EQ(predicted("quantile alpha:0.9"), 2.0);
    EXPECT_DOUBLE_EQ(predicted("poisson"), std::exp(2.0));
    EXPECT_DOUBLE_EQ(predicted("binary sigmoid:1"), 1.0 / (1.0 + std::exp(-2.0)));
    EXPECT_THROW((void)TreeModel::parse(stump()).value().predict(std::vector<double>(3)), std::invalid_argument);
}

TEST(TreeModel, refuses_what_is_no_model) {
    const std::string good = stump();
    ASSERT_TRUE(TreeModel::parse(good));
    const std::pair<const char*, const char*> changes[] = {
        {"tree\n", "bush\n"},
        {"version=v4", "version=v9"},
        {"objective=regression", "objective=lambdarank"},
        {"objective=regression", "objective=multiclass num_class:3"},
        {"objective=regression", "objective=multiclass num_class:99999999"},
        {"num_tree_per_iteration=1", "num_tree_per_iteration=0"},
        {"max_feature_idx=1", "max_feature_idx=0"},
        {"max_feature_idx=1", "max_feature_idx=-5"},
        {"max_feature_idx=1", "max_feature_idx=99999999999"},
        {"label_index=0", "average_output"},
        {"num_leaves=2", "num_leaves=0"},
        {"num_leaves=2", "num_leaves=3"},
        {"num_leaves=2", "num_leaves=1000000000"},
        {"num_leaves=2", "num_leaves=99999999999999999999"},
        {"num_cat=0", "num_cat=-1"},
        {"num_cat=0", "num_cat=1"},
        {"split_feature=1", "split_feature=2"},
        {"split_feature=1", "split_feature=-1"},
        {"split_feature=1", "split_feature=1 1"},
        {"threshold=0.5", "threshold=nan"},
        {"threshold=0.5", "threshold=0.5x"},
        {"threshold=0.5\n", ""},
        {"decision_type=8", "decision_type=1"},
        {"decision_type=8", "decision_type=12"},
        {"left_child=-1", "left_child=0"},
        {"left_child=-1", "left_child=1"},
        {"left_child=-1", "left_child=-3"},
        {"left_child=-1", "left_child=-2147483648"},
        {"leaf_value=-1 2", "leaf_value=-1 inf"},
        {"leaf_value=-1 2", "leaf_value=-1"},
        {"is_linear=0", "is_linear=1"},
        {"Tree=0", "Tee=0"},
        {"end of trees", "end"},
    };
    for (const auto& [what, by] : changes) {
        EXPECT_FALSE(TreeModel::parse(replaced(good, what, by))) << what << " -> " << by;
    }
    EXPECT_FALSE(TreeModel::parse(""));
    EXPECT_FALSE(TreeModel::parse("tree"));
    EXPECT_EQ(TreeModel::parse(good, {.text_bytes_max = 100}).error().code, ErrorCode::resource_exhausted);
}

TEST(TreeModel, survives_any_text) {
    const TreeTable table{1000, TreeLoss::l2};
    const std::string good = grown_with(table, TreeLoss::l2).text;
    const std::vector<double> rows = table.validation_features();
    for (std::size_t length = 0; length < good.size(); length += 97) {
        EXPECT_FALSE(TreeModel::parse(good.substr(0, std::min(length, good.find("\nend of trees")))));
    }
    SplitMix random{1};
    int survivors = 0;
    for (int i = 0; i < 3000; ++i) {
        std::string text = good;
        for (std::uint64_t change = random.below(4); change < 4; ++change) {
            static constexpr std::string_view characters = "0123456789-. =\ne";
            text[random.below(text.size())] = characters[random.below(characters.size())];
        }
        if (const auto model = TreeModel::parse(text); model && model->columns() == TreeTable::columns) {
            survivors += model->predict_raw(rows).empty() ? 0 : 1;
        }
    }
    EXPECT_GT(survivors, 0);
}

} // namespace
} // namespace muster::worker
