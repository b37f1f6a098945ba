#include "worker/calibration.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace muster::worker {
namespace {

class AnyShares : public ::testing::TestWithParam<OptimizerKind> {};

// 900 training rows in batches of 64: 15 steps an epoch, the last with 4 rows; 60 steps in all.
TEST_P(AnyShares, give_the_same_fp64_model) {
    TestingProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.optimizer.kind = GetParam();
    problem.recipe.optimizer.learning_rate = 1e-2;
    problem.recipe.optimizer.momentum = GetParam() == OptimizerKind::sgd ? 0.9 : 0.0;
    const auto alone = train_with(problem, {64});
    EXPECT_EQ((*alone[0].done)->steps, 60);
    EXPECT_EQ((*alone[0].done)->rows, 3600);
    const std::vector<std::vector<std::int64_t>> all_shares{{48, 16}, {37, 20, 7}, {63, 0, 1}, {0, 64}};
    for (const auto& shares : all_shares) {
        const auto together = train_with(problem, shares);
        std::int64_t rows = 0;
        for (const Trained& rank : together) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-10);
            EXPECT_EQ((*rank.done)->parameters_digest, (*together[0].done)->parameters_digest);
            rows += (*rank.done)->rows;
        }
        EXPECT_EQ(rows, 3600);
        EXPECT_TRUE((*together[1].done)->evaluations.empty());
        for (const char* set : {"training", "validation", "test"}) {
            EXPECT_NEAR(
                score(**together[0].done, "trained", set, "MAE"), score(**alone[0].done, "trained", set, "MAE"), 1e-8);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(EachOptimizer, AnyShares, ::testing::Values(OptimizerKind::sgd, OptimizerKind::adamw));

TEST(Trainer, clips_the_gradient_of_the_whole_batch_whatever_the_shares) {
    TestingProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.optimizer = {.kind = OptimizerKind::sgd, .learning_rate = 1e-2, .warm_up = 7, .clip_norm = 0.05};
    const auto clipped = train_with(problem, {64});
    problem.recipe.optimizer.clip_norm = 0.0;
    EXPECT_GT(relative_difference(train_with(problem, {64})[0].parameters, clipped[0].parameters), 1e-3);
    problem.recipe.optimizer.clip_norm = 0.05;
    for (const std::vector<std::int64_t>& shares : {std::vector<std::int64_t>{48, 16}, {37, 20, 7}}) {
        for (const Trained& rank : train_with(problem, shares)) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, clipped[0].parameters), 1e-12);
        }
    }
}

TEST(Trainer, weighs_classes_whatever_the_shares) {
    for (const int classes : {2, 3}) {
        TestingProblem problem{1000, 5, classes};
        problem.recipe.number_type = NumberType::fp64;
        problem.recipe.epochs = 10;
        const double plain = score(**train_with(problem, {64})[0].done, "trained", "test", "recall");
        problem.recipe.class_weights = RecipeClassWeights{.weights = {{"class 1", 50.0}}};
        const auto weighed = train_with(problem, {64});
        const auto together = train_with(problem, {40, 24});
        EXPECT_LT(relative_difference(together[0].parameters, weighed[0].parameters), 1e-10);
        if (classes == 2) {
            EXPECT_GT(score(**weighed[0].done, "trained", "test", "recall"), plain);
        }
        problem.recipe.class_weights = RecipeClassWeights{.balanced = true};
        EXPECT_TRUE(train_with(problem, {64})[0].done->ok());
    }
}

TEST(Trainer, learns_the_quantile_that_is_asked_for) {
    TestingProblem problem;
    problem.recipe.loss = Loss::quantile;
    problem.recipe.epochs = 30;
    problem.recipe.optimizer.learning_rate = 1e-2;
    const auto bias_of = [&](double quantile) { // Above the median the errors lean to one side.
        problem.recipe.quantile = quantile;
        const auto trained = train_with(problem, {64});
        EXPECT_TRUE(trained[0].done->ok());
        return score(**trained[0].done, "trained", "test", "MAE");
    };
    const double middle = bias_of(0.5);
    EXPECT_GT(bias_of(0.95), 1.3 * middle);
    EXPECT_GT(bias_of(0.05), 1.3 * middle);
}

TEST(Trainer, gives_fp32_scores_within_one_per_cent_for_any_shares) {
    const TestingProblem problem;
    const double alone = score(**train_with(problem, {64})[0].done, "trained", "test", "MAE");
    for (const std::vector<std::int64_t>& shares : {std::vector<std::int64_t>{50, 14}, {30, 30, 4}}) {
        EXPECT_NEAR(score(**train_with(problem, shares)[0].done, "trained", "test", "MAE"), alone, 0.01 * alone);
    }
}

TEST(Trainer, beats_the_baselines_where_there_is_something_to_learn) {
    TestingProblem problem;
    problem.recipe.epochs = 40;
    problem.recipe.optimizer.learning_rate = 1e-2;
    const auto trained = train_with(problem, {64});
    const Done& done = **trained[0].done;
    ASSERT_EQ(done.evaluations.size(), 9U);
    EXPECT_LT(score(done, "trained", "test", "MAE"), score(done, "linear", "test", "MAE"));
    EXPECT_LT(score(done, "linear", "test", "MAE"), 0.5 * score(done, "naive", "test", "MAE"));
    EXPECT_EQ(done.preprocessing, problem.preprocessing);
    EXPECT_GT(done.first_step_seconds, 0.0);
    EXPECT_GE(done.seconds, done.compute_seconds);
}

class Classification : public ::testing::TestWithParam<int> {};

TEST_P(Classification, learns_its_classes_with_any_shares) {
    TestingProblem problem{1000, 5, GetParam()};
    problem.recipe.epochs = 20;
    problem.recipe.optimizer.learning_rate = 1e-2;
    const auto alone = train_with(problem, {64});
    const auto together = train_with(problem, {40, 24});
    ASSERT_TRUE(alone[0].done->ok()) << alone[0].done->error().text();
    ASSERT_TRUE(together[0].done->ok()) << together[0].done->error().text();
    const double accuracy = score(**alone[0].done, "trained", "test", "accuracy");
    EXPECT_GT(accuracy, score(**alone[0].done, "naive", "test", "accuracy") + 10.0);
    EXPECT_GT(score(**alone[0].done, "linear", "test", "accuracy"),
              score(**alone[0].done, "naive", "test", "accuracy"));
    EXPECT_NEAR(score(**together[0].done, "trained", "test", "accuracy"), accuracy, 2.0);
    EXPECT_GT(score(**alone[0].done, "trained", "test", "AUC"), 80.0);
}

INSTANTIATE_TEST_SUITE_P(TwoAndThree, Classification, ::testing::Values(2, 3));

TEST(Trainer, stops_all_ranks_in_the_step_whose_loss_is_not_a_number) {
    TestingProblem problem;
    problem.recipe.optimizer = {.kind = OptimizerKind::sgd, .learning_rate = 1e30};
    problem.recipe.loss = Loss::mse;
    const auto alone = train_with(problem, {64});
    ASSERT_FALSE(alone[0].done->ok());
    EXPECT_EQ(alone[0].done->error().message.substr(0, 29), "loss is not a number at step ");
    for (const Trained& rank : train_with(problem, {60, 4})) {
        EXPECT_EQ(rank.done->error().message, alone[0].done->error().message);
        EXPECT_EQ(rank.done->error().code, ErrorCode::invalid_argument);
    }
}

TEST(Trainer, stops_all_ranks_in_the_same_step_when_one_is_asked_to) {
    TestingProblem problem;
    problem.recipe.epochs = 1000;
    std::stop_source stop;
    const auto ranks = train_with(problem, {32, 32}, [&](int rank, TrainingOrder& order) {
        if (rank == 1) {
            order.stop = stop.get_token();
        } else {
            order.progress_interval = {};
            order.progress = [&](const Progress& progress) {
                if (progress.step == 20) {
                    stop.request_stop();
                }
            };
        }
    });
    EXPECT_EQ(ranks[0].done->error().code, ErrorCode::unavailable);
    EXPECT_EQ(ranks[0].done->error().message, ranks[1].done->error().message);
    EXPECT_EQ(ranks[0].done->error().message.substr(0, 15), "stopped at step");
}

TEST(Trainer, stops_early_after_the_epoch_that_meets_the_requirements) {
    TestingProblem problem;
    problem.recipe.epochs = 50;
    problem.recipe.stop_when_met = true;
    problem.recipe.optimizer.learning_rate = 1e-2;
    const auto ranks = train_with(problem, {40, 24}, [](int, TrainingOrder& order) {
        order.requirements = {{.output = "y", .metric = "R2", .score = 80.0}};
    });
    const Done& done = **ranks[0].done;
    EXPECT_TRUE(done.stopped_early);
    EXPECT_LT(done.steps, 50 * 15);
    EXPECT_EQ(done.steps % 15, 0);
    EXPECT_EQ((*ranks[1].done)->steps, done.steps);
    EXPECT_GE(score(done, "trained", "validation", "R2"), 80.0);
}

TEST(Trainer, refuses_members_with_different_data) {
    const TestingProblem problem;
    const TestingProblem other{500};
    run_ranks(2, [&](Group group) {
        prepare_thread(1);
        const TestingProblem& own = group->getRank() == 0 ? problem : other;
        auto program = ModelProgram::build(own.recipe, own.preprocessing);
        const auto done =
            train(*program, own.recipe, own.preprocessing, own.matrices, {.group = group, .batch_rows = {32, 32}});
        EXPECT_EQ(done.error().code, ErrorCode::conflict);
    });
}

TEST(Trainer, throws_what_the_group_throws_and_can_train_again) {
    const TestingProblem problem;
    auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
    EXPECT_THROW(run_ranks(2,
                           [&](Group group) {
                               prepare_thread(1);
                               if (group->getRank() == 1) {
                                   throw std::runtime_error{"gone"};
                               }
                               static_cast<void>(train(*program,
                                                       problem.recipe,
                                                       problem.preprocessing,
                                                       problem.matrices,
                                                       {.group = group, .batch_rows = {32, 32}}));
                           }),
                 std::runtime_error);
    EXPECT_TRUE(train(*program, problem.recipe, problem.preprocessing, problem.matrices, {.batch_rows = {64}}).ok());
}

TEST(Trainer, ends_on_all_ranks_when_the_group_is_aborted_and_can_train_again) {
    TestingProblem problem;
    problem.recipe.epochs = 1000;
    run_ranks(2, [&](Group group) {
        prepare_thread(1);
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
        TrainingOrder order{.group = group, .batch_rows = {40, 24}, .progress_interval = {}};
        order.progress = [&](const Progress& progress) {
            if (group->getRank() == 1 && progress.step == 10) {
                group->getBackend(c10::DeviceType::CPU)->abort();
            }
        };
        EXPECT_ANY_THROW(
            static_cast<void>(train(*program, problem.recipe, problem.preprocessing, problem.matrices, order)));
        Recipe shorter = problem.recipe;
        shorter.epochs = 1;
        const auto again =
            train(*program, shorter, problem.preprocessing, problem.matrices, TrainingOrder{.batch_rows = {64}});
        EXPECT_TRUE(again.ok());
    });
}

TEST(Trainer, trains_the_linear_model_and_rows_fewer_than_a_batch) {
    TestingProblem problem{30};
    problem.recipe.model.hidden = {};
    problem.recipe.data.validation = 0.0;
    const auto ranks = train_with(problem, {60, 40});
    ASSERT_TRUE(ranks[0].done->ok());
    EXPECT_EQ((*ranks[0].done)->steps, 4);
    EXPECT_EQ((*ranks[0].done)->rows + (*ranks[1].done)->rows, 4 * 30);
    EXPECT_EQ(score(**ranks[0].done, "trained", "validation", "MAE"), -1.0);
}

TEST(Trainer, refuses_shares_that_cannot_be_meant) {
    const TestingProblem problem;
    auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
    for (const std::vector<std::int64_t>& shares : {std::vector<std::int64_t>{}, {0}, {-1}, {32, 32}}) {
        EXPECT_EQ(train(*program, problem.recipe, problem.preprocessing, problem.matrices, {.batch_rows = shares})
                      .error()
                      .code,
                  ErrorCode::invalid_argument);
    }
}

TEST(Calibration, measures_steps_memory_and_links) {
    const TestingProblem problem;
    const std::vector<std::int64_t> batches{256, 64, 4096};
    prepare_thread(1);
    auto measured = measure_steps(problem.recipe, problem.preprocessing, problem.matrices.train, batches);
    ASSERT_TRUE(measured.ok()) << measured.error().text();
    ASSERT_EQ(measured->steps.size(), 3U);
    EXPECT_EQ(measured->steps[2].batch, 4096);
    EXPECT_GT(measured->steps[0].seconds, 0.0);
    EXPECT_GE(measured->fit().per_row, 0.0); // 0 when something else holds the processor up
    ASSERT_EQ(measured->memory.size(), 2U);
    EXPECT_GE(measured->memory[1].bytes, measured->memory[0].bytes);
    EXPECT_EQ(measured->parameter_bytes, 4 * (5 * 16 + 16 + 16 * 8 + 8 + 8 + 1));
    std::array<Calibration, 2> links;
    run_ranks(2, [&](Group group) {
        Calibration& own = links[static_cast<std::size_t>(group->getRank())];
        own.parameter_bytes = 1 << 20;
        measure_link(group, own);
    });
    EXPECT_GT(links[0].latency_seconds, 0.0);
    EXPECT_EQ(links[0].latency_seconds, links[1].latency_seconds);
    EXPECT_EQ(links[0].bytes_per_second, links[1].bytes_per_second);
    EXPECT_FALSE(
        measure_steps(problem.recipe, problem.preprocessing, problem.matrices.train, std::vector<std::int64_t>{0})
            .ok());
}

} // namespace
} // namespace muster::worker
