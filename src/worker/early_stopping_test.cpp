#include "base/fd.h"
#include "worker/best_weights.h"
#include "worker/testing_ranks.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <system_error>

namespace muster::worker {
namespace {

constexpr std::int64_t epoch_steps = 15;

/// Learns so fast that the validation rows soon get worse.
struct RestlessProblem : TestingProblem {
    RestlessProblem() {
        recipe.epochs = 60;
        recipe.optimizer.learning_rate = 0.05;
        recipe.early_stopping = RecipeEarlyStopping{.patience = 3, .metric = "MSE"};
    }
};

/// The model after that many epochs, without early stopping.
std::vector<at::Tensor> trained_for(std::int64_t epochs) {
    RestlessProblem problem;
    problem.recipe.epochs = epochs;
    problem.recipe.early_stopping.reset();
    return train_with(problem, {64}).front().parameters;
}

TEST(EarlyStopping, goes_back_to_the_best_epoch) {
    const RestlessProblem problem;
    const auto trained = train_with(problem, {64}).front();
    ASSERT_TRUE(trained.done->ok()) << trained.done->error().text();
    const Done& done = **trained.done;
    EXPECT_TRUE(done.stopped_early);
    EXPECT_EQ(done.steps, (done.best_epoch + 1 + problem.recipe.early_stopping->patience) * epoch_steps);
    EXPECT_EQ(relative_difference(trained.parameters, trained_for(done.best_epoch + 1)), 0.0);
    EXPECT_GT(relative_difference(trained.parameters, trained_for(done.best_epoch + 2)), 0.0);
}

TEST(EarlyStopping, is_the_same_for_several_functions_and_with_a_file) {
    const RestlessProblem problem;
    const UniqueFd files[] = {UniqueFd{::memfd_create("a", MFD_CLOEXEC)}, UniqueFd{::memfd_create("b", MFD_CLOEXEC)}};
    const auto alone = train_with(problem, {64}).front();
    const auto ranks =
        train_with(problem, {40, 24}, [&](int rank, TrainingOrder& order) { order.best_weights = files[rank].get(); });
    for (const Trained& trained : ranks) {
        ASSERT_TRUE(trained.done->ok()) << trained.done->error().text();
        EXPECT_EQ((*trained.done)->best_epoch, (*alone.done)->best_epoch);
        EXPECT_EQ((*trained.done)->steps, (*alone.done)->steps);
        EXPECT_LT(relative_difference(trained.parameters, alone.parameters), 1e-5);
    }
    EXPECT_EQ((*ranks[0].done)->parameters_digest, (*ranks[1].done)->parameters_digest);
}

TEST(EarlyStopping, leaves_a_training_alone_that_gets_better) {
    RestlessProblem problem;
    problem.recipe.epochs = 3;
    problem.recipe.optimizer.learning_rate = 1e-3;
    const auto trained = train_with(problem, {64}).front();
    EXPECT_FALSE((*trained.done)->stopped_early);
    EXPECT_EQ((*trained.done)->best_epoch, 2);
    EXPECT_EQ((*trained.done)->steps, 3 * epoch_steps);
}

TEST(EarlyStopping, yields_to_a_requirement_that_is_met) {
    RestlessProblem problem;
    problem.recipe.stop_when_met = true;
    const auto trained = train_with(problem, {64}, [](int, TrainingOrder& order) {
                             order.requirements = {{.output = "y", .metric = "MSE", .score = 1e9}};
                         }).front();
    EXPECT_TRUE((*trained.done)->stopped_early);
    EXPECT_EQ((*trained.done)->steps, epoch_steps);
    EXPECT_EQ((*trained.done)->best_epoch, -1);
}

TEST(BestWeights, come_back_from_a_file) {
    const UniqueFd file{::memfd_create("best", MFD_CLOEXEC)};
    const std::vector<at::Tensor> weights{at::rand({3, 5}), at::rand({7}, at::kDouble)};
    const std::vector<at::Tensor> before{weights[0].clone(), weights[1].clone()};
    BestWeights best{file.get()};
    best.keep(weights);
    weights[0].zero_();
    weights[1].zero_();
    best.restore(weights);
    EXPECT_TRUE(weights[0].equal(before[0]));
    EXPECT_TRUE(weights[1].equal(before[1]));
}

TEST(BestWeights, say_when_the_file_is_cut) {
    const UniqueFd file{::memfd_create("best", MFD_CLOEXEC)};
    const std::vector<at::Tensor> weights{at::rand({1024})};
    BestWeights best{file.get()};
    best.keep(weights);
    ASSERT_EQ(::ftruncate(file.get(), 100), 0);
    EXPECT_THROW(best.restore(weights), std::system_error);
}

} // namespace
} // namespace muster::worker
