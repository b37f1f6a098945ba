/// Models cut into stages: what each holds, and that together they train what one process would.
#include "base/fd.h"
#include "base/testing_text.h"
#include "worker/stage_weights.h"
#include "worker/testing_ranks.h"
#include "worker/testing_stages.h"
#include "worker/testing_text_problem.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <torch/script.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <sstream>

namespace muster::worker {
namespace {

TEST(Stages, hold_their_own_blocks_and_start_as_the_whole_does) {
    const TextProblem problem;
    const auto whole = problem.program();
    const auto names = parameter_shapes(problem.recipe, problem.preprocessing).value();
    std::map<std::string, at::Tensor> weights;
    for (std::size_t i = 0; i < names.size(); ++i) {
        weights[names[i].name] = whole.parameters()[i];
    }
    std::int64_t held = 0;
    for (const ModelStage& stage : stages_of({1, 2, 1})) {
        const auto part = ModelProgram::build(problem.recipe, problem.preprocessing, stage).value();
        const auto own = parameter_shapes(problem.recipe, problem.preprocessing, stage).value();
        ASSERT_EQ(own.size(), part.parameters().size());
        for (std::size_t i = 0; i < own.size(); ++i) {
            EXPECT_TRUE(part.parameters()[i].equal(weights.at(own[i].name))) << own[i].name;
            EXPECT_EQ(part.parameters()[i].sizes().vec(), own[i].sizes) << own[i].name;
        }
        held += part.parameter_count();
    }
    EXPECT_EQ(held, whole.parameter_count());
    EXPECT_EQ(elements_of(names), whole.parameter_count());
    EXPECT_LT(ModelProgram::build(problem.recipe, problem.preprocessing, {1, 1}).value().parameter_count(), held / 2);
}

TEST(Stages, are_refused_where_the_model_has_no_such_blocks) {
    const TextProblem text;
    for (const ModelStage& stage : {ModelStage{3, 2}, ModelStage{-1, 2}, ModelStage{4, 1}, ModelStage{0, -1}}) {
        const auto refused = ModelProgram::build(text.recipe, text.preprocessing, stage);
        ASSERT_FALSE(refused.ok());
        EXPECT_TRUE(has(refused.error().text(), "are not among the model's 4"));
    }
    const TestingProblem table;
    const auto refused = ModelProgram::build(table.recipe, table.preprocessing, {0, 1});
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(has(refused.error().text(), "\"mlp\" is no chain of blocks and cannot be cut"));
}

TEST(Pipeline, trains_the_model_of_one_process) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.epochs = 2;
    problem.recipe.optimizer.clip_norm = 0.5; // of the whole gradient, which no stage has
    const auto alone = train_with(problem, {16});
    const Done& single = **alone[0].done;
    struct Case {
        std::vector<std::int64_t> blocks;
        std::int64_t micro_rows;
        bool recompute;
    };
    for (const Case& each : {Case{{2, 2}, 4, false},
                             Case{{1, 3}, 5, true}, // a short micro-batch at the end of each batch
                             Case{{1, 2, 1}, 3, true},
                             Case{{1, 1, 1, 1}, 2, false},
                             Case{{3, 1}, 100, false}}) { // one micro-batch
        const auto split = train_in_stages(problem, stages_of(each.blocks, each.recompute), each.micro_rows);
        SCOPED_TRACE(testing::PrintToString(each.blocks));
        EXPECT_LT(relative_difference(split.parameters, alone[0].parameters), 1e-10);
        for (const Result<Done>& done : split.done) {
            ASSERT_TRUE(done.ok()) << done.error().text();
            EXPECT_EQ(done->steps, single.steps);
            EXPECT_EQ(done->parameters_digest, split.done[0]->parameters_digest);
        }
        for (const char* rows : {"training", "validation", "test"}) {
            EXPECT_NEAR(
                score(*split.done[0], "trained", rows, "log_loss"), score(single, "trained", rows, "log_loss"), 1e-9);
        }
    }
}

TEST(Pipeline, with_replicas_trains_the_model_of_one_process) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.epochs = 2;
    problem.recipe.model.dropout = 0.1;
    problem.recipe.optimizer.clip_norm = 0.5;
    const auto alone = train_with(problem, {16});
    struct Case {
        std::vector<std::int64_t> blocks;
        std::vector<std::int64_t> rows; ///< of each replica
        std::int64_t micro_rows;
    };
    for (const Case& each : {Case{{2, 2}, {8, 8}, 4},
                             Case{{1, 3}, {11, 5}, 3},
                             Case{{1, 2, 1}, {1, 15}, 4}, // none of a short batch for the first
                             Case{{3, 1}, {7, 4, 5}, 2}}) {
        const auto replicas = static_cast<int>(each.rows.size());
        const auto split = train_in_stages(
            problem, stages_of(each.blocks, false, replicas), each.micro_rows, [&](int rank, TrainingOrder& order) {
                for (std::size_t i = 0; i < order.batch_rows.size(); ++i) {
                    order.batch_rows[i] = each.rows[i / each.blocks.size()];
                }
                order.stages[static_cast<std::size_t>(rank)].recompute = rank == 0;
            });
        SCOPED_TRACE(testing::PrintToString(each.rows));
        const std::size_t size = split.parameters.size() / each.rows.size();
        for (std::size_t replica = 0; replica < each.rows.size(); ++replica) {
            const auto first = split.parameters.begin() + static_cast<std::ptrdiff_t>(replica * size);
            const std::vector<at::Tensor> own{first, first + static_cast<std::ptrdiff_t>(size)};
            EXPECT_LT(relative_difference(own, alone[0].parameters), 1e-10);
        }
        std::int64_t rows = 0;
        for (std::size_t rank = 0; rank < split.done.size(); ++rank) {
            ASSERT_TRUE(split.done[rank].ok()) << split.done[rank].error().text();
            EXPECT_EQ(split.done[rank]->parameters_digest, split.done[0]->parameters_digest);
            rows += rank % each.blocks.size() == 0 ? split.done[rank]->rows : 0;
        }
        EXPECT_EQ(rows, (**alone[0].done).rows);
        for (const char* set : {"training", "validation", "test"}) {
            EXPECT_NEAR(score(*split.done[0], "trained", set, "log_loss"),
                        score(**alone[0].done, "trained", set, "log_loss"),
                        1e-9);
        }
    }
}

TEST(Pipeline, stops_early_although_only_the_first_knows_the_scores) {
    TextProblem problem;
    problem.recipe.epochs = 5;
    problem.recipe.stop_when_met = true;
    const auto split = train_in_stages(problem, stages_of({2, 2}), 4, [](int, TrainingOrder& order) {
        order.requirements = {{.metric = "log_loss", .score = 10.0}};
    });
    for (const Result<Done>& done : split.done) {
        ASSERT_TRUE(done.ok()) << done.error().text();
        EXPECT_TRUE(done->stopped_early);
        EXPECT_EQ(done->steps, split.done[0]->steps);
    }
}

TEST(Pipeline, refuses_a_plan_that_has_a_function_read_what_it_does_not_hold) {
    const TextProblem problem;
    auto program = problem.program();
    const MatrixSet elsewhere = matrices_elsewhere({.rows = 100, .columns = 1}).value();
    const auto done = train(program, problem.recipe, problem.preprocessing, elsewhere, {.batch_rows = {16}});
    ASSERT_FALSE(done.ok());
    EXPECT_TRUE(has(done.error().text(), "read rows of data that it does not hold"));
}

TEST(Pipeline, in_fp32_follows_the_loss_of_one_process) {
    TextProblem problem;
    const auto losses = [&](const std::function<void(std::function<void(int, TrainingOrder&)>)>& run) {
        std::vector<double> seen;
        run([&](int rank, TrainingOrder& order) {
            order.progress_interval = {};
            if (rank == 0) {
                order.progress = [&](const Progress& progress) { seen.push_back(progress.loss); };
            }
        });
        return seen;
    };
    const auto alone = losses([&](const auto& adjust) { train_with(problem, {16}, adjust); });
    const auto split = losses([&](const auto& adjust) { train_in_stages(problem, stages_of({2, 2}), 4, adjust); });
    ASSERT_EQ(alone.size(), split.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(20, alone.size()); ++i) {
        EXPECT_NEAR(split[i] / alone[i], 1.0, 1e-5) << "step " << i + 1;
    }
}

TEST(Pipeline, stops_everywhere_in_the_same_step) {
    const TextProblem problem;
    std::stop_source asked;
    asked.request_stop();
    const auto split = train_in_stages(problem, stages_of({1, 3}), 4, [&](int rank, TrainingOrder& order) {
        if (rank == 1) {
            order.stop = asked.get_token();
        }
    });
    for (const Result<Done>& done : split.done) {
        ASSERT_FALSE(done.ok());
        EXPECT_TRUE(has(done.error().text(), "stopped at step 1"));
    }
}

TEST(Pipeline, ends_everywhere_when_the_loss_is_not_a_number) {
    TextProblem problem;
    problem.recipe.optimizer.kind = OptimizerKind::sgd;
    problem.recipe.optimizer.learning_rate = 1e30;
    for (const Result<Done>& done : train_in_stages(problem, stages_of({2, 2}), 4).done) {
        ASSERT_FALSE(done.ok());
        EXPECT_TRUE(has(done.error().text(), "loss is not a number at step"));
    }
}

TEST(Pipeline, refuses_stages_that_are_not_those_of_the_members) {
    const TextProblem problem;
    const auto split =
        train_in_stages(problem, stages_of({2, 2}), 4, [](int, TrainingOrder& order) { order.stages.pop_back(); });
    EXPECT_TRUE(has(split.done[0].error().text(), "the plan gives 1 stages for 2 members"));
    const auto uneven = train_in_stages(problem, stages_of({2, 2}, false, 2), 4, [](int, TrainingOrder& order) {
        order.stages[2].blocks = 1;
        order.stages[3] = {1, 3};
    });
    for (const Result<Done>& done : uneven.done) {
        ASSERT_FALSE(done.ok());
        EXPECT_TRUE(has(done.error().text(), "other blocks than the same stage of the first replica"));
    }
}

std::string read(int fd) {
    std::string bytes(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), std::ssize(bytes));
    return bytes;
}

TEST(StageWeights, come_together_in_a_file_and_become_the_archive_of_the_whole) {
    const TextProblem problem;
    const auto whole = problem.program();
    const UniqueFd expected{::memfd_create("expected", MFD_CLOEXEC)};
    whole.export_archive(expected.get());
    const UniqueFd weights{::memfd_create("weights", MFD_CLOEXEC)};
    const auto stages = stages_of({1, 2, 1});
    run_ranks(3, [&](Group group) {
        const auto program = ModelProgram::build(problem.recipe,
                                                 problem.preprocessing,
                                                 stages[static_cast<std::size_t>(group->getRank())])
                                 .value();
        gather_weights(program, problem.recipe, problem.preprocessing, stages, group, weights.get());
    });
    const std::string file = read(weights.get());
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    const auto header = nlohmann::json::parse(file.substr(8, length));
    EXPECT_EQ((8 + length) % 64, 0U);
    EXPECT_EQ(header.size(), whole.parameters().size() + 1);
    EXPECT_EQ(header.at("layers.0.token").at("dtype"), "F32");
    EXPECT_EQ(header.at("layers.0.token").at("shape"), nlohmann::json({6, 16}));
    EXPECT_EQ(file.size(), 8 + length + static_cast<std::size_t>(whole.parameter_bytes()));

    const UniqueFd made{::memfd_create("made", MFD_CLOEXEC)};
    export_gathered(problem.recipe, problem.preprocessing, weights.get(), made.get());
    std::istringstream left{read(expected.get())};
    std::istringstream right{read(made.get())};
    auto one = torch::jit::load(left);
    auto other = torch::jit::load(right);
    const at::Tensor tokens = at::randint(0, TextProblem::vocabulary, {3, 8}, at::kLong);
    EXPECT_TRUE(one.forward({tokens}).toTensor().equal(other.forward({tokens}).toTensor()));
}

} // namespace
} // namespace muster::worker
