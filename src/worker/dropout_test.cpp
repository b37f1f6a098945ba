#include "base/fd.h"
#include "worker/archive_file.h"
#include "worker/dropout.h"
#include "worker/own_operators.h"
#include "worker/program.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/testing_text_problem.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include <cmath>
#include <string>

namespace muster::worker {
namespace {

/// A network of dropout alone.
torch::jit::Module only_dropout(double probability, std::int64_t site = 0) {
    torch::jit::Module module{"__torch__.Only"};
    module.define("def forward(self, x: Tensor) -> Tensor:\n    return " + dropout_call("x", site, probability) + "\n",
                  operator_resolver());
    return module;
}

at::Tensor dropped(const at::Tensor& x,
                   std::uint64_t seed,
                   std::int64_t step,
                   std::int64_t first_row,
                   double probability = 0.3,
                   std::int64_t site = 0) {
    const DropoutScope scope{seed, step, first_row};
    return only_dropout(probability, site).forward({x}).toTensor();
}

TEST(Dropout, drops_the_part_that_is_asked_for_and_keeps_the_mean) {
    const at::Tensor ones = at::ones({400, 251});
    for (const double probability : {0.1, 0.5, 0.9}) {
        const at::Tensor y = dropped(ones, 1, 2, 0, probability);
        const double zeros = y.eq(0).to(at::kDouble).mean().item<double>();
        EXPECT_NEAR(zeros, probability, 5 * std::sqrt(probability * (1 - probability) / 100'400)); // 5 sigma
        EXPECT_NEAR(y.max().item<double>(), 1.0 / (1.0 - probability), 1e-6);
        const at::Tensor by_column = y.eq(0).to(at::kDouble).mean(0);
        EXPECT_LT((by_column - probability).abs().max().item<double>(), 0.15) << "no column is favoured";
    }
}

TEST(Dropout, is_off_without_a_scope_or_a_probability) {
    const at::Tensor x = at::rand({3, 4});
    EXPECT_TRUE(only_dropout(0.5).forward({x}).toTensor().equal(x));
    const DropoutScope scope{1, 1, 0};
    EXPECT_TRUE(only_dropout(0.0).forward({x}).toTensor().equal(x));
}

TEST(Dropout, depends_on_the_place_in_the_global_batch_and_not_on_how_it_is_cut) {
    const at::Tensor x = at::ones({10, 33}, at::kDouble);
    const at::Tensor whole = dropped(x, 7, 3, 0);
    EXPECT_TRUE(at::cat({dropped(x.narrow(0, 0, 4), 7, 3, 0), dropped(x.narrow(0, 4, 6), 7, 3, 4)}).equal(whole));
    EXPECT_TRUE(dropped(x.to(at::kFloat), 7, 3, 0).eq(0).equal(whole.eq(0))) << "nor on the number type";
    for (const at::Tensor& other :
         {dropped(x, 8, 3, 0), dropped(x, 7, 4, 0), dropped(x, 7, 3, 1), dropped(x, 7, 3, 0, 0.3, 1)}) {
        EXPECT_FALSE(other.equal(whole));
    }
    EXPECT_EQ(dropped(at::ones({0, 5}), 1, 1, 0).numel(), 0);
}

TEST(Dropout, passes_gradients_where_it_passed_numbers) {
    const at::Tensor x = at::ones({6, 50}, at::kDouble).requires_grad_(true);
    const at::Tensor y = dropped(x, 7, 3, 0);
    y.sum().backward();
    EXPECT_TRUE(x.grad().equal(y.detach()));
}

/// Each family with dropout: any shares train the same model, and another one than without.
template <typename Problem>
void expect_same_for_any_shares(Problem& problem, const std::vector<std::vector<std::int64_t>>& all_shares) {
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.optimizer.learning_rate = 1e-3;
    problem.recipe.model.dropout = 0.2;
    const std::vector<std::int64_t> one{problem.recipe.batch};
    const auto alone = train_with(problem, one);
    ASSERT_TRUE(alone[0].done->ok()) << alone[0].done->error().text();
    for (const auto& shares : all_shares) {
        for (const Trained& rank : train_with(problem, shares)) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-10);
        }
    }
    problem.recipe.model.dropout = 0.0;
    EXPECT_GT(relative_difference(train_with(problem, one)[0].parameters, alone[0].parameters), 1e-4);
}

TEST(Dropout, gives_the_same_perceptron_for_any_shares) {
    TestingProblem problem;
    expect_same_for_any_shares(problem, {{48, 16}, {37, 20, 7}, {0, 64}});
}

TEST(Dropout, gives_the_same_transformer_for_any_shares) {
    TextProblem problem;
    expect_same_for_any_shares(problem, {{10, 6}});
}

TEST(Dropout, gives_the_same_model_in_stages_even_computed_twice) {
    TextProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    problem.recipe.optimizer.learning_rate = 1e-3;
    problem.recipe.model.dropout = 0.2;
    const auto alone = train_with(problem, {problem.recipe.batch});
    for (const bool recompute : {false, true}) {
        const std::vector<ModelStage> stages{{0, 2, recompute}, {2, 2, recompute}};
        std::vector<std::vector<at::Tensor>> parts(2);
        run_ranks(2, [&](Group group) {
            prepare_thread(1);
            const auto rank = static_cast<std::size_t>(group->getRank());
            auto program = ModelProgram::build(problem.recipe, problem.preprocessing, stages[rank]).value();
            const TrainingOrder order{.group = std::move(group),
                                      .batch_rows = {problem.recipe.batch, problem.recipe.batch},
                                      .stages = stages,
                                      .micro_rows = 3};
            const auto done = train(program, problem.recipe, problem.preprocessing, problem.matrices, order);
            ASSERT_TRUE(done.ok()) << done.error().text();
            for (const at::Tensor& parameter : program.parameters()) {
                parts[rank].push_back(parameter.detach().clone());
            }
        });
        std::vector<at::Tensor> together = parts[0];
        together.insert(together.end(), parts[1].begin(), parts[1].end());
        EXPECT_LT(relative_difference(together, alone[0].parameters), 1e-10) << recompute;
    }
}

TEST(Dropout, is_not_in_the_exported_model) {
    prepare_thread(1);
    TextProblem problem;
    problem.recipe.model.dropout = 0.2;
    const auto program = problem.program();
    const TestingFolder folder;
    program.export_archive(folder.path() / "model.pt");
    const UniqueFd file{::open((folder.path() / "model.pt").c_str(), O_RDONLY | O_CLOEXEC)};
    const torch::jit::Module archive = load_archive(file.get());
    const torch::jit::Module body = archive.attr("body").toModule();
    EXPECT_EQ(body.dump_to_str(true, false, false).find("muster::"), std::string::npos)
        << "plain PyTorch does not know it";
    const at::Tensor tokens = at::arange(8).view({1, 8}).remainder(TextProblem::vocabulary);
    const at::NoGradGuard no_grad;
    auto trained = problem.program();
    EXPECT_TRUE(body.get_method("forward")({tokens}).toTensor().equal(trained.forward(tokens)));
}

} // namespace
} // namespace muster::worker
