/// Trainings in mixed precision: near those of fp32, and the same for whoever computes them.
#include "base/testing_text.h"
#include "worker/processor.h"
#include "worker/testing_ranks.h"
#include "worker/testing_stages.h"
#include "worker/testing_text_problem.h"

#include <gtest/gtest.h>
#include <torch/script.h>

namespace muster::worker {
namespace {

class Bf16Training : public testing::Test {
protected:
    void SetUp() override {
        if (!Processor::here().bf16) {
            GTEST_SKIP() << "this processor has no AVX512_BF16";
        }
    }
};

TEST_F(Bf16Training, of_a_transformer_comes_close_to_the_loss_of_fp32) {
    TextProblem problem{4000};
    problem.recipe.epochs = 12;
    problem.recipe.optimizer.decay_learning_rate = true; // to rest: else it is a matter of chance which is ahead
    const auto wide = train_with(problem, {16});
    problem.recipe.number_type = NumberType::bf16;
    const auto narrow = train_with(problem, {16});
    ASSERT_TRUE(narrow[0].done->ok()) << narrow[0].done->error().text();
    EXPECT_GT(relative_difference(narrow[0].parameters, wide[0].parameters), 1e-4) << "it was trained in fp32";
    for (const char* rows : {"training", "validation"}) {
        const double wanted = score(**wide[0].done, "trained", rows, "log_loss");
        EXPECT_NEAR(score(**narrow[0].done, "trained", rows, "log_loss"), wanted, 0.02 * wanted) << rows;
    }
    for (const at::Tensor& parameter : narrow[0].parameters) {
        EXPECT_EQ(parameter.scalar_type(), at::kFloat);
    }
}

TEST_F(Bf16Training, of_an_mlp_comes_close_to_the_error_of_fp32) {
    TestingProblem problem;
    problem.recipe.epochs = 30;
    problem.recipe.optimizer.learning_rate = 1e-2;
    const double wanted = score(**train_with(problem, {64})[0].done, "trained", "test", "MAE");
    problem.recipe.number_type = NumberType::bf16;
    const double found = score(**train_with(problem, {64})[0].done, "trained", "test", "MAE");
    EXPECT_NE(found, wanted);
    EXPECT_NEAR(found, wanted, 0.05 * wanted);
}

// A difference in the last bit of fp32 may turn the rounding of a number to bf16: the bound is wider than that of fp32.
// The difference between bf16 and fp32 themselves is 0.07 here.
constexpr double same_model = 5e-3;
constexpr double same_score = 1e-4;

TEST_F(Bf16Training, gives_one_model_for_any_shares) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::bf16;
    problem.recipe.epochs = 2;
    problem.recipe.model.dropout = 0.1;
    const auto alone = train_with(problem, {16});
    ASSERT_TRUE(alone[0].done->ok()) << alone[0].done->error().text();
    for (const auto& shares : {std::vector<std::int64_t>{11, 5}, {0, 16}}) {
        const auto together = train_with(problem, shares);
        for (const Trained& rank : together) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), same_model);
        }
        EXPECT_NEAR(score(**together[0].done, "trained", "validation", "log_loss"),
                    score(**alone[0].done, "trained", "validation", "log_loss"),
                    same_score);
    }
}

TEST_F(Bf16Training, in_stages_gives_the_model_of_one_process) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::bf16;
    problem.recipe.epochs = 2;
    const auto alone = train_with(problem, {16});
    for (const bool recompute : {false, true}) {
        const auto split = train_in_stages(problem, stages_of({2, 2}, recompute), 5);
        ASSERT_TRUE(split.done[0].ok()) << split.done[0].error().text();
        EXPECT_LT(relative_difference(split.parameters, alone[0].parameters), same_model);
        EXPECT_NEAR(score(*split.done[0], "trained", "validation", "log_loss"),
                    score(**alone[0].done, "trained", "validation", "log_loss"),
                    same_score);
    }
}

TEST_F(Bf16Training, leaves_an_archive_without_operators_of_ours) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::bf16;
    const TestingFolder folder;
    const auto narrow = problem.program();
    narrow.export_archive(folder.path() / "narrow.pt");
    problem.recipe.number_type = NumberType::fp32;
    const auto wide = problem.program();
    EXPECT_EQ(narrow.parameters_digest(), wide.parameters_digest());
    const auto loaded = torch::jit::load((folder.path() / "narrow.pt").string());
    const std::string source = loaded.attr("body").toModule().dump_to_str(true, false, false);
    EXPECT_TRUE(has(source, "linear"));
    EXPECT_FALSE(has(source, "muster::")) << source;
}

TEST(Bf16, is_refused_before_anything_is_built_where_the_processor_lacks_it) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::bf16;
    const auto refused = parameter_shapes(problem.recipe, problem.preprocessing, {}, nullptr, {.bf16 = false});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().where, "/number_type");
    EXPECT_TRUE(has(refused.error().text(), "AVX512_BF16")) << refused.error().text();
    EXPECT_TRUE(has(refused.error().text(), "number_type: fp32")) << refused.error().text();
    EXPECT_TRUE(parameter_shapes(problem.recipe, problem.preprocessing, {}, nullptr, {.bf16 = true}).ok());
    problem.recipe.number_type = NumberType::fp32;
    EXPECT_TRUE(parameter_shapes(problem.recipe, problem.preprocessing, {}, nullptr, {.bf16 = false}).ok());
}

} // namespace
} // namespace muster::worker
