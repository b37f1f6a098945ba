#include "process_group/backend.h"
#include "process_group/loopback_groups.h"
#include "worker/class_weights.h"
#include "worker/csv_rows.h"
#include "worker/exported_model.h"
#include "worker/predict_rows.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/testing_trees.h"
#include "worker/tree_archive.h"
#include "worker/tree_calibration.h"
#include "worker/tree_problem.h"
#include "worker/tree_training.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <thread>

namespace muster::worker {
namespace {

using namespace std::chrono_literals;

void want_trees(TestingProblem& problem, std::int64_t trees = 30) {
    problem.recipe.model = {.family = "gbdt", .trees = RecipeTrees{.trees = trees, .leaves = 8}};
    for (InputColumn& input : problem.preprocessing.inputs) {
        input.raw = true;
    }
}

struct TreesOfRank {
    std::optional<Result<TrainedTrees>> trained;
    TreeProgress progress;
    bool lost{};
};

std::vector<TreesOfRank>
train_trees_with(const TestingProblem& problem,
                 const std::vector<std::int64_t>& shares,
                 std::vector<TreeProgress> progress = {},
                 const std::function<void(int, TrainingOrder&, collective::Group*)>& adjust = {}) {
    std::vector<TreesOfRank> results(shares.size());
    progress.resize(shares.size());
    const auto body = [&](const std::shared_ptr<collective::Group>& group) {
        prepare_thread(1);
        const int rank = group ? group->rank() : 0;
        TreesOfRank& result = results[static_cast<std::size_t>(rank)];
        result.progress = progress[static_cast<std::size_t>(rank)];
        TrainingOrder order{.batch_rows = shares};
        if (group) {
            order.group = process_group::make_process_group(group);
        }
        if (adjust) {
            adjust(rank, order, group.get());
        }
        try {
            result.trained = train_trees(
                problem.recipe, problem.preprocessing, problem.matrices, order, group.get(), result.progress);
        } catch (const std::exception&) {
            result.lost = true;
        }
    };
    if (shares.size() == 1) {
        body({});
    } else {
        process_group::testing::run_ranks(static_cast<int>(shares.size()), body);
    }
    return results;
}

double trained_score(const TreesOfRank& rank, const char* rows, const char* metric) {
    return score((*rank.trained)->done, "trained", rows, metric);
}

TEST(TreeTraining, gives_the_same_model_for_any_shares) {
    MUSTER_NEEDS_MEMBERS();
    TestingProblem problem;
    want_trees(problem);
    problem.recipe.loss = Loss::mse;
    const auto alone = train_trees_with(problem, {900});
    ASSERT_TRUE(alone[0].trained->ok()) << alone[0].trained->error().text();
    EXPECT_EQ((*alone[0].trained)->done.steps, 30);
    EXPECT_EQ((*alone[0].trained)->done.rows, 30 * 900);
    for (const std::vector<std::int64_t>& shares : {std::vector<std::int64_t>{700, 200}, {300, 550, 50}}) {
        const auto together = train_trees_with(problem, shares);
        for (const TreesOfRank& rank : together) {
            ASSERT_TRUE(rank.trained && rank.trained->ok()) << (rank.trained ? rank.trained->error().text() : "lost");
            EXPECT_EQ((*rank.trained)->text, (*alone[0].trained)->text);
            EXPECT_EQ((*rank.trained)->done.parameters_digest, (*alone[0].trained)->done.parameters_digest);
        }
        EXPECT_EQ(trained_score(together[0], "test", "MAE"), trained_score(alone[0], "test", "MAE"));
        EXPECT_TRUE((*together[1].trained)->done.evaluations.empty());
    }
    const Done& done = (*alone[0].trained)->done;
    EXPECT_LT(score(done, "trained", "test", "MAE"), 0.6 * score(done, "naive", "test", "MAE"));
    EXPECT_EQ(score(done, "linear", "test", "MAE"), -1.0) << "rows of boosted trees are raw";
}

TEST(TreeTraining, stops_early_and_keeps_the_best_trees) {
    TestingProblem problem;
    want_trees(problem, 400);
    problem.recipe.model.trees->learning_rate = 0.5;
    problem.recipe.loss = Loss::mse;
    problem.recipe.early_stopping = RecipeEarlyStopping{.patience = 10, .metric = "RMSE"};
    const auto trained = train_trees_with(problem, {900});
    const Done& done = (*trained[0].trained)->done;
    EXPECT_TRUE(done.stopped_early);
    EXPECT_EQ(done.best_epoch + 1 + 10, done.steps);
    EXPECT_EQ(TreeModel::parse((*trained[0].trained)->text)->iterations(), done.best_epoch + 1);
    problem.recipe.early_stopping.reset();
    problem.recipe.model.trees->trees = done.steps;
    const auto all = train_trees_with(problem, {900});
    EXPECT_LE(trained_score(trained[0], "validation", "RMSE"), trained_score(all[0], "validation", "RMSE"));
}

TEST(TreeTraining, tells_classes_apart_and_reports_them) {
    for (const int classes : {2, 4}) {
        TestingProblem problem{1000, 5, classes};
        want_trees(problem);
        const auto trained = train_trees_with(problem, {900});
        ASSERT_TRUE(trained[0].trained->ok()) << trained[0].trained->error().text();
        EXPECT_GT(trained_score(trained[0], "test", "accuracy"), classes == 2 ? 85.0 : 60.0);
        EXPECT_EQ((*trained[0].trained)->done.evaluations.front().classes.size(), static_cast<std::size_t>(classes));
    }
}

TEST(TreeTraining, weighs_classes_and_names_those_that_are_not_there) {
    TestingProblem problem{1000, 5, 2};
    want_trees(problem);
    problem.recipe.class_weights = RecipeClassWeights{.weights = {{"class 1", 20.0}}};
    const auto recall = [&] {
        const auto trained = train_trees_with(problem, {900});
        return (*trained[0].trained)->done.evaluations.back().model == "naive"
                   ? trained_score(trained[0], "test", "recall")
                   : -1.0;
    };
    const double heavy = recall();
    problem.recipe.class_weights.reset();
    EXPECT_GT(heavy, recall());
    problem.recipe.class_weights = RecipeClassWeights{.weights = {{"class 7", 2.0}}};
    const auto checked = check_class_weights(problem.recipe, problem.preprocessing);
    ASSERT_FALSE(checked);
    EXPECT_NE(checked.error().text().find("class 1"), std::string::npos) << checked.error().text();
    problem.recipe.class_weights = RecipeClassWeights{.balanced = true};
    const std::vector<float> targets{0.0F, 1.0F, 0.0F, 0.0F};
    EXPECT_EQ(class_weights_of(problem.recipe, problem.preprocessing, targets), (std::vector<double>{4.0 / 6, 2.0}));
}

TEST(TreeTraining, goes_on_after_the_trees_of_a_generation_that_lost_a_member) {
    MUSTER_NEEDS_MEMBERS();
    TestingProblem problem;
    want_trees(problem, 300);
    problem.recipe.loss = Loss::mse;
    const auto first =
        train_trees_with(problem, {300, 300, 300}, {}, [&](int rank, TrainingOrder& order, collective::Group* group) {
            if (rank == 2) {
                order.progress_interval = 0ms;
                order.progress = [group](const Progress& progress) {
                    if (progress.step == 40) {
                        group->abort("the member is gone");
                    }
                };
            }
        });
    for (const TreesOfRank& rank : first) {
        EXPECT_TRUE(rank.lost);
        EXPECT_NEAR(rank.progress.iterations, 40, 1);
    }
    std::vector<TreeProgress> kept{first[0].progress, {}}; // The second one is new.
    const auto second = train_trees_with(problem, {600, 300}, kept);
    for (const TreesOfRank& rank : second) {
        ASSERT_TRUE(rank.trained && rank.trained->ok());
        EXPECT_EQ((*rank.trained)->done.steps, 300);
        EXPECT_EQ((*rank.trained)->text, (*second[0].trained)->text);
    }
    EXPECT_EQ((*second[0].trained)->done.rows, (300 - first[0].progress.iterations) * 600);
    const auto alone = train_trees_with(problem, {900});
    EXPECT_NEAR(trained_score(second[0], "test", "MAE"), trained_score(alone[0], "test", "MAE"), 0.3);
}

TEST(TreeTraining, stops_when_asked_and_can_go_on) {
    TestingProblem problem;
    want_trees(problem, 300);
    std::stop_source stop;
    const auto stopped =
        train_trees_with(problem, {900}, {}, [&](int /*rank*/, TrainingOrder& order, collective::Group* /*group*/) {
            order.stop = stop.get_token();
            order.progress_interval = 0ms;
            order.progress = [&](const Progress& progress) {
                if (progress.step == 20) {
                    stop.request_stop();
                }
            };
        });
    ASSERT_FALSE(stopped[0].trained->ok());
    EXPECT_EQ(stopped[0].trained->error().text(), "stopped at step 21");
    EXPECT_EQ(stopped[0].progress.iterations, 20);
}

TEST(TreeTraining, refuses_members_with_other_data) {
    MUSTER_NEEDS_MEMBERS();
    TestingProblem problem;
    want_trees(problem);
    const auto trained =
        train_trees_with(problem, {500, 400}, {}, [](int rank, TrainingOrder& order, collective::Group* /*group*/) {
            order.batch_rows = rank == 0 ? std::vector<std::int64_t>{500, 400} : std::vector<std::int64_t>{400, 500};
        });
    for (const TreesOfRank& rank : trained) {
        ASSERT_FALSE(rank.trained->ok());
        EXPECT_EQ(rank.trained->error().code, ErrorCode::conflict);
    }
}

/// A file of boosted trees as a user has it.
class TreeFile : public ::testing::Test {
protected:
    Result<ExportedModel> load(const std::string& text) {
        std::ofstream{folder_.path() / "model.txt"} << text;
        return ExportedModel::load(folder_.path() / "model.txt");
    }
    TestingFolder folder_;
};

TEST_F(TreeFile, predicts_raw_rows_as_the_training_did) {
    TestingProblem problem;
    want_trees(problem);
    problem.preprocessing.inputs[1].transform = {.low = -1.0, .high = 1.0, .log = true};
    const auto trained = train_trees_with(problem, {900});
    const auto model = load(tree_archive(problem.recipe, problem.preprocessing, (*trained[0].trained)->text));
    ASSERT_TRUE(model) << model.error().text();
    EXPECT_EQ(model->number_names(), (std::vector<std::string>{"x0", "x1", "x2", "x3", "x4"}));
    EXPECT_EQ(model->target_name(), "y");
    const double none = std::numeric_limits<double>::quiet_NaN();
    const RawRows raw{.rows = 3,
                      .numbers = {1.0, 5.0, 0.0, 0.5, 2.0, -1.0, -5.0, 0.1, 0.5, 2.0, none, none, 1.0, 0.0, 0.0}};
    const auto predicted = model->predict(raw);
    ASSERT_TRUE(predicted) << predicted.error().text();
    std::vector<double> encoded = raw.numbers;
    encoded[1] = std::log1p(1.0F);
    encoded[6] = -std::log1p(1.0F);
    for (double& value : encoded) {
        value = static_cast<float>(value);
    }
    EXPECT_EQ(*predicted, TreeModel::parse((*trained[0].trained)->text)->predict(encoded));
}

TEST_F(TreeFile, reads_categories_dates_and_windows) {
    Recipe recipe{.name = "r",
                  .data = {.source = "s", .target = "y", .windows = RecipeWindows{.length = 2, .horizon = 1}},
                  .model = {.family = "gbdt", .trees = RecipeTrees{.trees = 1, .leaves = 4}},
                  .loss = Loss::mse};
    Preprocessing preprocessing{
        .inputs = {{.name = "cell id", .kind = ColumnKind::category, .categories = {"a", "b"}, .raw = true},
                   {.name = "when", .kind = ColumnKind::date, .raw = true},
                   {.name = "cell-id", .raw = true}},
        .target = {.name = "y"}};
    EXPECT_EQ(fmt::format("{}", fmt::join(sample_columns(recipe, preprocessing), " ")),
              "cell_id.1_before cell-id.1_before cell_id when.day when.week cell-id");
    EXPECT_EQ(category_columns(recipe, preprocessing), (std::vector<int>{0, 2}));
    // Leaf 1 or 2 by the category of the newest row, 1 also where it is unknown.
    const std::string text = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
                             "max_feature_idx=5\nobjective=regression\nfeature_names=Column_0\nfeature_infos=none\n"
                             "tree_sizes=1\n\nTree=0\nnum_leaves=2\nnum_cat=1\nsplit_feature=2\nsplit_gain=1\n"
                             "threshold=0\ndecision_type=1\nleft_child=-1\nright_child=-2\nleaf_value=2 1\n"
                             "leaf_weight=1 1\nleaf_count=1 1\ninternal_value=0\ninternal_weight=0\ninternal_count=2\n"
                             "cat_boundaries=0 1\ncat_threshold=2\nis_linear=0\nshrinkage=1\n\n\nend of trees\n";
    const auto model = load(tree_archive(recipe, preprocessing, text));
    ASSERT_TRUE(model) << model.error().text();
    const auto csv = parse_csv("cell id,when,cell-id\na,2026-01-01,1\nb,2026-01-02,1\na,2026-01-03,1\nc,,\n");
    const auto rows = predict_rows(*model, *csv);
    ASSERT_TRUE(rows) << rows.error().text();
    EXPECT_TRUE(std::isnan((*rows)[0][0])) << "no window ends with the first row";
    EXPECT_EQ((*rows)[1][0], 2.0);
    EXPECT_EQ((*rows)[2][0], 1.0);
    EXPECT_EQ((*rows)[3][0], 1.0);
}

TEST_F(TreeFile, refuses_what_does_not_fit) {
    TestingProblem problem;
    want_trees(problem, 2);
    const std::string text = (*train_trees_with(problem, {900})[0].trained)->text;
    const std::string good = tree_archive(problem.recipe, problem.preprocessing, text);
    ASSERT_TRUE(load(good));
    const auto refused = [&](const std::string& wrong, const char* why) {
        const auto model = load(wrong);
        ASSERT_FALSE(model) << why;
        EXPECT_NE(model.error().text().find(why), std::string::npos) << model.error().text();
    };
    refused(text, "muster_model");
    refused(good.substr(0, good.size() / 2), "muster_model");
    auto changed = [&](const std::string& from, const std::string& to) {
        std::string wrong = good;
        const auto at = wrong.rfind(from);
        EXPECT_NE(at, std::string::npos) << from;
        return wrong.replace(at, from.size(), to);
    };
    refused(changed("\"raw\":true", "\"raw\":false"), "not one of boosted trees");
    refused(changed("\"recipe\":{", "\"recipe\":[{"), "no recipe");
    problem.preprocessing.inputs.pop_back();
    refused(tree_archive(problem.recipe, problem.preprocessing, text), "read 5 columns");
}

TEST(TreeCalibration, measures_time_memory_and_what_is_exchanged) {
    TestingProblem problem;
    want_trees(problem);
    const std::vector<std::int64_t> batches{100, 200, 450};
    const auto measured =
        measure_trees(problem.recipe, problem.preprocessing, problem.matrices.train, batches, 1, {.timed_min = 1ms});
    ASSERT_TRUE(measured) << measured.error().text();
    ASSERT_EQ(measured->steps.size(), 3U);
    EXPECT_EQ(measured->steps[2].batch, 450);
    for (const StepTime& step : measured->steps) {
        EXPECT_GT(step.seconds, 0.0);
    }
    EXPECT_EQ(measured->memory.size(), 2U);
    // 8 leaves of 5 columns with at most 256 bins of 16 bytes, of which half counts.
    EXPECT_GT(measured->parameter_bytes, 8 * 5 * 20 * 16 / 2);
    EXPECT_LE(measured->parameter_bytes, 8 * 5 * 256 * 16 / 2);
    EXPECT_FALSE(measure_trees(problem.recipe, problem.preprocessing, problem.matrices.train, {}, 1).ok());
}

} // namespace
} // namespace muster::worker
