/// Language models: samples of a text, the transformer, its scores and its archive.
#include "base/testing_text.h"
#include "worker/program.h"
#include "worker/sampler.h"
#include "worker/testing_ranks.h"
#include "worker/testing_text_problem.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/script.h>

namespace muster::worker {
namespace {

TEST(TextSamples, follow_one_another_and_leave_the_end_for_validation) {
    const RowSplit split = split_text(100, 10, 0.25);
    EXPECT_EQ(split.training, (std::vector<std::int64_t>{0, 10, 20, 30, 40, 50}));
    EXPECT_EQ(split.validation, (std::vector<std::int64_t>{75, 85}));
    EXPECT_EQ(split_text(10, 10, 0.0).training, (std::vector<std::int64_t>{0}));
    EXPECT_TRUE(split_text(9, 10, 0.0).training.empty());
    EXPECT_EQ(split_text(25, 10, 0.01).validation, (std::vector<std::int64_t>{15})) << "one sample at least";
}

TEST(TextSamples, of_a_test_are_all_that_there_are) {
    EXPECT_EQ(text_samples(31, 10), (std::vector<std::int64_t>{0, 10, 20}));
    EXPECT_EQ(text_samples(30, 10), (std::vector<std::int64_t>{0, 10, 20}));
    EXPECT_TRUE(text_samples(9, 10).empty());
}

TEST(TextSamples, move_by_epoch_but_never_into_the_validation) {
    for (const std::int64_t rows : {10, 11, 19, 20, 29, 30, 100, 101}) {
        const RowSplit split = split_text(rows, 10, 0.2);
        const std::int64_t end = split.validation.empty() ? rows : split.validation.front();
        std::set<std::int64_t> shifts;
        for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
            const auto shift = shift_of_epoch(split, rows, 10, 1, epoch);
            ASSERT_GE(shift, 0);
            ASSERT_LE(split.training.back() + 10 + shift, end) << rows;
            shifts.insert(shift);
        }
        if (rows >= 100) {
            EXPECT_EQ(shifts.size(), 10U) << rows;
        }
    }
}

TEST(Transformer, sees_the_past_only) {
    const TextProblem problem;
    auto program = problem.program();
    const c10::AutoGradMode no_grad{false};
    const at::Tensor tokens = at::tensor({0, 1, 2, 3, 4, 5, 0, 1}, at::kLong).unsqueeze(0);
    at::Tensor changed = tokens.clone();
    changed[0][5] = 2;
    const at::Tensor before = program.forward(tokens);
    const at::Tensor after = program.forward(changed);
    EXPECT_EQ(before.sizes(), (at::IntArrayRef{1, 8, TextProblem::vocabulary}));
    EXPECT_TRUE(before.narrow(1, 0, 5).equal(after.narrow(1, 0, 5)));
    EXPECT_FALSE(before.narrow(1, 5, 3).equal(after.narrow(1, 5, 3)));
}

TEST(Transformer, begins_with_weights_that_each_block_draws_for_itself) {
    TextProblem problem;
    const auto two = problem.program();
    EXPECT_EQ(two.parameters_digest(), problem.program().parameters_digest());
    problem.recipe.model.layers = 1;
    const auto one = problem.program();
    // Embedding, then attention's weight of the first block: neither knows how many blocks follow.
    for (const std::size_t i : {0U, 1U, 4U}) {
        EXPECT_TRUE(one.parameters()[i].equal(two.parameters()[i])) << i;
    }
    problem.recipe.seed = 6;
    EXPECT_FALSE(one.parameters()[0].equal(problem.program().parameters()[0]));
}

TEST(Transformer, of_any_shares_is_the_same_fp64_model) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    const auto alone = train_with(problem, {16});
    ASSERT_TRUE(alone[0].done->ok()) << alone[0].done->error().text();
    for (const auto& shares : {std::vector<std::int64_t>{11, 5}, {3, 12, 1}, {0, 16}}) {
        const auto together = train_with(problem, shares);
        for (const Trained& rank : together) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-10);
        }
        for (const char* metric : {"log_loss", "accuracy"}) {
            EXPECT_NEAR(score(**together[0].done, "trained", "validation", metric),
                        score(**alone[0].done, "trained", "validation", metric),
                        1e-9);
        }
    }
}

TEST(Transformer, learns_what_pairs_of_tokens_cannot_tell) {
    TextProblem problem{4000};
    problem.recipe.epochs = 15;
    const auto trained = train_with(problem, {16});
    ASSERT_TRUE(trained[0].done->ok()) << trained[0].done->error().text();
    const Done& done = **trained[0].done;
    for (const char* set : {"training", "validation", "test"}) {
        EXPECT_LT(score(done, "trained", set, "log_loss"), 0.8 * score(done, "bigram", set, "log_loss")) << set;
        EXPECT_LT(score(done, "bigram", set, "log_loss"), score(done, "naive", set, "log_loss")) << set;
        EXPECT_GT(score(done, "trained", set, "accuracy"), score(done, "bigram", set, "accuracy")) << set;
    }
}

TEST(Transformer, starts_at_the_loss_of_knowing_nothing) {
    TextProblem problem;
    problem.recipe.optimizer.learning_rate = 1e-12;
    const auto trained = train_with(problem, {16});
    EXPECT_NEAR(score(**trained[0].done, "trained", "validation", "log_loss"), std::log(TextProblem::vocabulary), 0.05);
}

TEST(Transformer, of_a_text_shorter_than_a_sample_is_refused) {
    const TextProblem problem{7};
    const auto refused = train_with(problem, {16});
    ASSERT_FALSE(refused[0].done->ok());
    EXPECT_TRUE(has(refused[0].done->error().text(), "shorter than one sequence"));
}

TEST(Transformer, is_not_built_for_tables_nor_an_mlp_for_text) {
    const TextProblem text;
    const TestingProblem table;
    EXPECT_TRUE(has(ModelProgram::build(text.recipe, table.preprocessing).error().text(), "/data/text"));
    EXPECT_TRUE(has(ModelProgram::build(table.recipe, text.preprocessing).error().text(), "/data/text"));
}

TEST(Transformer, archive_gives_the_probabilities_of_the_next_token) {
    const TextProblem problem;
    auto program = problem.program();
    const TestingFolder folder;
    program.export_archive(folder.path() / "model.pt");
    auto archive = torch::jit::load((folder.path() / "model.pt").string());
    const c10::AutoGradMode no_grad{false};
    const at::Tensor tokens = at::tensor({0, 1, 2, 3, 4, 5}, at::kLong).reshape({2, 3});
    const at::Tensor found = archive.forward({tokens}).toTensor();
    EXPECT_TRUE(at::allclose(found.exp(), program.finish(program.forward(tokens)), 1e-6, 1e-9));
    EXPECT_EQ(archive.attr("task").toStringRef(), "language");
    EXPECT_EQ(archive.attr("vocabulary").toListRef().size(), 6U);
    EXPECT_EQ(archive.attr("sequence").toInt(), 8);
    EXPECT_ANY_THROW(archive.forward({at::zeros({1, 9}, at::kLong)})) << "longer than the model's positions";
}

} // namespace
} // namespace muster::worker
