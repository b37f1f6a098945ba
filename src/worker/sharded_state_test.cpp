#include "worker/sharded_state.h"
#include "worker/step.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/testing_text_problem.h"

#include <gtest/gtest.h>

#include <numeric>

namespace muster::worker {
namespace {

using Shares = std::vector<double>;

TEST(ShardSizes, are_within_one_element_of_the_shares_and_leave_none_out) {
    const std::vector<Shares> all{
        {0.25, 0.75}, {0.0, 0.3, 0.7}, {1.0, 0.0}, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {0.0, 1.0, 0.0}};
    for (const Shares& shares : all) {
        for (const std::int64_t elements : {0, 1, 2, 10, 1'000'003}) {
            const auto sizes = shard_sizes(elements, shares);
            EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}), elements);
            for (std::size_t i = 0; i < shares.size(); ++i) {
                EXPECT_NEAR(static_cast<double>(sizes[i]), shares[i] * static_cast<double>(elements), 1.0 + 1e-6);
                EXPECT_TRUE(sizes[i] >= 0 && (shares[i] > 0.0 || sizes[i] == 0));
            }
        }
    }
}

struct Case {
    const char* name;
    RecipeOptimizer optimizer;
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
    return out << each.name;
}

class Sharded : public ::testing::TestWithParam<Case> {};

TEST_P(Sharded, gives_the_model_of_one_function_in_fp64) {
    TestingProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.optimizer = GetParam().optimizer;
    const auto alone = train_with(problem, {64});
    const std::vector<std::pair<std::vector<std::int64_t>, Shares>> all{{{48, 16}, {0.2, 0.8}},
                                                                        {{40, 24}, {0.0, 1.0}},
                                                                        {{0, 64}, {1.0, 0.0}},
                                                                        {{37, 20, 7}, {0.1, 0.0, 0.9}},
                                                                        {{20, 20, 24}, {0.37, 0.21, 0.42}}};
    for (const auto& [rows, shares] : all) {
        const auto together =
            train_with(problem, rows, [&](int, TrainingOrder& order) { order.state_shares = shares; });
        for (const Trained& rank : together) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-12);
            EXPECT_EQ((*rank.done)->parameters_digest, (*together[0].done)->parameters_digest);
        }
        EXPECT_NEAR(score(**together[0].done, "trained", "test", "MAE"),
                    score(**alone[0].done, "trained", "test", "MAE"),
                    1e-8);
    }
}

TEST_P(Sharded, gives_the_model_of_whole_state_in_fp32) {
    TestingProblem problem;
    problem.recipe.optimizer = GetParam().optimizer;
    problem.recipe.epochs = 1;
    const auto whole = train_with(problem, {48, 16});
    const auto cut = train_with(problem, {48, 16}, [](int, TrainingOrder& order) { order.state_shares = {0.3, 0.7}; });
    for (const Trained& rank : cut) {
        ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
        EXPECT_LT(relative_difference(rank.parameters, whole[0].parameters), 1e-6);
    }
}

INSTANTIATE_TEST_SUITE_P(
    EachOptimizer,
    Sharded,
    ::testing::Values(Case{"adamw", {.learning_rate = 1e-2, .weight_decay = 0.05}},
                      Case{"adamw, clipped", {.learning_rate = 1e-2, .warm_up = 7, .clip_norm = 0.05}},
                      Case{"momentum", {.kind = OptimizerKind::sgd, .learning_rate = 1e-2, .momentum = 0.9}},
                      Case{"momentum, clipped",
                           {.kind = OptimizerKind::sgd, .learning_rate = 1e-2, .momentum = 0.9, .clip_norm = 0.05}},
                      Case{"plain sgd", {.kind = OptimizerKind::sgd, .learning_rate = 1e-2}}));

TEST(ShardedTraining, of_a_language_model_gives_the_model_of_one_function) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    // AdamW divides by the root of tiny gradients here, which makes a thousand of the last bit with any shares of rows.
    problem.recipe.optimizer = {.kind = OptimizerKind::sgd, .learning_rate = 1e-1, .momentum = 0.9};
    const auto alone = train_with(problem, {problem.recipe.batch});
    const auto together = train_with(problem, {problem.recipe.batch, 0}, [](int, TrainingOrder& order) {
        order.state_shares = {0.4, 0.6};
    });
    for (const Trained& rank : together) {
        ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
        EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-12);
    }
}

/// A step of a model of 1.1 million parameters, in several buckets, with the state cut by `shares`.
std::vector<std::int64_t> state_bytes_with(RecipeOptimizer optimizer, const Shares& shares) {
    TestingProblem problem{100};
    problem.recipe.model.hidden = {1024, 1024};
    problem.recipe.optimizer = optimizer;
    std::vector<std::int64_t> bytes(2);
    run_ranks(2, [&](Group group) {
        prepare_thread(1);
        Ranks ranks{group, {8, 8}};
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
        std::vector<std::int64_t> rows(8);
        std::iota(rows.begin(), rows.end(), 0);
        TrainingStep step{*program, problem.recipe, problem.preprocessing, ranks, 8, 1, shares};
        static_cast<void>(step.run(problem.matrices.train, rows, 16, false));
        bytes[ranks.rank()] = step.state_bytes();
    });
    return bytes;
}

TEST(ShardedTraining, keeps_the_state_that_the_plan_gives_each_member) {
    const double parameter_bytes = 4.0 * (5 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 + 1);
    const auto adamw = state_bytes_with({}, {0.15, 0.85});
    EXPECT_NEAR(static_cast<double>(adamw[0]), 2.0 * 0.15 * parameter_bytes, 0.05 * 2.0 * 0.15 * parameter_bytes);
    EXPECT_NEAR(static_cast<double>(adamw[1]), 2.0 * 0.85 * parameter_bytes, 0.05 * 2.0 * 0.85 * parameter_bytes);
    const auto momentum = state_bytes_with({.kind = OptimizerKind::sgd, .momentum = 0.9}, {0.0, 1.0});
    EXPECT_EQ(momentum[0], 0);
    EXPECT_EQ(momentum[1], static_cast<std::int64_t>(parameter_bytes));
    EXPECT_EQ(state_bytes_with({.kind = OptimizerKind::sgd}, {0.5, 0.5})[0], 0);
    const auto whole = state_bytes_with({}, {});
    EXPECT_NEAR(static_cast<double>(whole[0]), 2.0 * parameter_bytes, 100.0);
}

/// Payload that rank 0 sends in a step, after a first one that also finds the order of buckets.
std::int64_t bytes_of_a_step(const Shares& shares) {
    TestingProblem problem{100};
    problem.recipe.model.hidden = {1024, 1024};
    std::int64_t bytes = 0;
    process_group::testing::run_ranks(2, [&](std::shared_ptr<collective::Group> group) {
        prepare_thread(1);
        Ranks ranks{process_group::make_process_group(group), {8, 8}};
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
        const std::vector<std::int64_t> rows{0, 1, 2};
        TrainingStep step{*program, problem.recipe, problem.preprocessing, ranks, 8, 3, shares};
        for (int i = 0; i < 2; ++i) {
            static_cast<void>(step.run(problem.matrices.train, rows, 6, false));
        }
        const std::int64_t before = group->traffic().bytes_sent;
        static_cast<void>(step.run(problem.matrices.train, rows, 6, false));
        if (ranks.rank() == 0) {
            bytes = group->traffic().bytes_sent - before;
        }
    });
    return bytes;
}

TEST(ShardedTraining, sends_what_one_all_reduce_sends) {
    const auto whole = static_cast<double>(bytes_of_a_step({}));
    EXPECT_NEAR(static_cast<double>(bytes_of_a_step({0.5, 0.5})), whole, 0.01 * whole);
    EXPECT_NEAR(static_cast<double>(bytes_of_a_step({0.1, 0.9})), whole, 0.01 * whole);
}

TEST(ShardedTraining, stops_all_ranks_in_the_step_whose_loss_is_not_a_number) {
    TestingProblem problem;
    problem.recipe.optimizer = {.kind = OptimizerKind::sgd, .learning_rate = 1e30};
    problem.recipe.loss = Loss::mse;
    const auto whole = train_with(problem, {60, 4});
    const auto cut = train_with(problem, {60, 4}, [](int, TrainingOrder& order) { order.state_shares = {0.5, 0.5}; });
    for (const Trained& rank : cut) {
        EXPECT_EQ(rank.done->error().message, whole[0].done->error().message);
        EXPECT_EQ(rank.done->error().code, ErrorCode::invalid_argument);
    }
}

TEST(ShardedTraining, stops_all_ranks_in_the_same_step_when_one_is_asked_to) {
    TestingProblem problem;
    problem.recipe.epochs = 1000;
    std::stop_source stop;
    const auto ranks = train_with(problem, {32, 32}, [&](int rank, TrainingOrder& order) {
        order.state_shares = {0.1, 0.9};
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

TEST(ShardedTraining, ends_on_all_ranks_when_the_group_is_aborted_and_leaves_a_model_that_can_be_trained) {
    TestingProblem problem;
    problem.recipe.epochs = 1000;
    run_ranks(2, [&](Group group) {
        prepare_thread(1);
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
        TrainingOrder order{
            .group = group, .batch_rows = {40, 24}, .state_shares = {0.5, 0.5}, .progress_interval = {}};
        order.progress = [&](const Progress& progress) {
            if (group->getRank() == 1 && progress.step == 10) {
                group->getBackend(c10::DeviceType::CPU)->abort();
            }
        };
        EXPECT_ANY_THROW(
            static_cast<void>(train(*program, problem.recipe, problem.preprocessing, problem.matrices, order)));
        for (const at::Tensor& parameter : program->parameters()) {
            EXPECT_EQ(parameter.storage().nbytes(), parameter.nbytes()) << "its own memory, which an archive holds";
        }
        Recipe shorter = problem.recipe;
        shorter.epochs = 1;
        EXPECT_TRUE(
            train(*program, shorter, problem.preprocessing, problem.matrices, TrainingOrder{.batch_rows = {64}}).ok());
    });
}

TEST(ShardedTraining, refuses_shares_that_cannot_be_meant) {
    const TestingProblem problem;
    for (const Shares& shares : {Shares{1.0}, {0.5, 0.6}, {-0.5, 1.5}, {0.5, std::nan("")}}) {
        const auto ranks =
            train_with(problem, {32, 32}, [&](int, TrainingOrder& order) { order.state_shares = shares; });
        EXPECT_EQ(ranks[0].done->error().code, ErrorCode::invalid_argument);
    }
    const auto different = train_with(problem, {32, 32}, [](int rank, TrainingOrder& order) {
        order.state_shares = rank == 0 ? Shares{0.5, 0.5} : Shares{0.4, 0.6};
    });
    EXPECT_EQ(different[0].done->error().code, ErrorCode::conflict);
}

} // namespace
} // namespace muster::worker
