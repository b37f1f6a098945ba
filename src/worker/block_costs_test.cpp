/// What the blocks of a chain take, measured one at a time.
#include "worker/allocation_meter.h"
#include "worker/block_costs.h"
#include "worker/calibration.h"
#include "worker/testing_text_problem.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace muster::worker {
namespace {

TEST(AllocationMeter, counts_what_is_taken_given_back_and_the_most_between) {
    AllocationMeter meter;
    at::Tensor kept = at::empty({1000}, at::kFloat);
    EXPECT_EQ(meter.bytes(), 4000);
    {
        const at::Tensor passing = at::empty({500}, at::kFloat);
        EXPECT_EQ(meter.bytes(), 6000);
    }
    EXPECT_EQ(meter.bytes(), 4000);
    EXPECT_EQ(meter.peak_bytes(), 6000);
    meter.restart_peak();
    kept.reset();
    EXPECT_EQ(meter.bytes(), 0);
    EXPECT_EQ(meter.peak_bytes(), 4000);
}

TEST(BlockCosts, are_those_of_each_block) {
    prepare_thread(1);
    TextProblem problem;
    problem.recipe.distribution.micro_batches = 4;
    const auto costs = measure_blocks(problem.recipe, problem.preprocessing, problem.matrices.train).value();
    ASSERT_EQ(costs.size(), 4U);
    EXPECT_EQ(costs[0].name, "embedding");
    EXPECT_EQ(costs[2].name, "block 2");
    EXPECT_EQ(costs[3].name, "head");
    std::int64_t state = 0;
    for (const BlockCost& cost : costs) {
        EXPECT_GT(cost.seconds, 0.0) << cost.name;
        EXPECT_GE(cost.activation_bytes, 4 * 8 * 6 * 4) << cost.name; // at least what it gives
        state += cost.state_bytes;
    }
    EXPECT_EQ(state, problem.program().parameter_bytes() * 4) << "weights, gradients and AdamW's two means";
    EXPECT_EQ(costs[0].input_bytes, 4 * 8 * 8) << "four samples of eight tokens";
    EXPECT_EQ(costs[1].input_bytes, 4 * 8 * 16 * 4);
    EXPECT_GT(costs[1].activation_bytes, 8 * costs[1].input_bytes) << "attention and a perceptron of four widths";
    EXPECT_EQ(costs[1].activation_bytes, costs[2].activation_bytes);
}

TEST(BlockCosts, tell_only_the_sizes_of_what_is_too_large) {
    prepare_thread(1);
    const TextProblem problem;
    const auto all = measure_blocks(problem.recipe, problem.preprocessing, problem.matrices.train).value();
    const auto some =
        measure_blocks(
            problem.recipe, problem.preprocessing, problem.matrices.train, {.memory_bytes_max = all[1].state_bytes - 1})
            .value();
    ASSERT_EQ(some.size(), all.size());
    for (std::size_t i = 0; i < some.size(); ++i) {
        const bool decoder = i == 1 || i == 2;
        EXPECT_EQ(some[i].seconds > 0.0, !decoder) << i;
        EXPECT_EQ(some[i].state_bytes, all[i].state_bytes) << i;
        EXPECT_EQ(some[i].input_bytes, all[i].input_bytes) << i;
    }
}

/// What a whole training step keeps is what its blocks keep.
TEST(BlockCosts, add_up_to_the_whole_model) {
    prepare_thread(1);
    TextProblem problem;
    problem.recipe.model.layers = 6;
    problem.recipe.distribution.micro_batches = 1;
    Calibration calibration;
    calibration.micro_rows = micro_rows_of(problem.recipe);
    calibration.blocks = measure_blocks(problem.recipe, problem.preprocessing, problem.matrices.train).value();
    auto program = problem.program();
    const at::Tensor rows = at::zeros({16, 8}, at::kLong);
    AllocationMeter meter;
    const at::Tensor outputs = program.forward(rows);
    std::int64_t activations = 0;
    for (const BlockCost& block : calibration.blocks) {
        activations += block.activation_bytes;
    }
    EXPECT_NEAR(
        static_cast<double>(activations), static_cast<double>(meter.bytes()), 0.1 * static_cast<double>(activations));
    EXPECT_GT(whole_memory_bytes(calibration, 16), program.parameter_bytes() * 4 + activations);
    EXPECT_LT(whole_memory_bytes(calibration, 8), whole_memory_bytes(calibration, 16));
    EXPECT_GT(whole_step_seconds(calibration, 16), whole_step_seconds(calibration, 8));
}

TEST(BlockCosts, stand_for_the_whole_where_it_does_not_fit) {
    prepare_thread(1);
    const TextProblem problem;
    const std::vector<std::int64_t> batches{2, 4, 8};
    const auto small =
        measure_steps(
            problem.recipe, problem.preprocessing, problem.matrices.train, batches, {.memory_bytes_max = 1 << 20})
            .value(); // less than the process has already
    ASSERT_EQ(small.steps.size(), 3U);
    ASSERT_EQ(small.memory.size(), 2U);
    EXPECT_EQ(small.steps[2].seconds, whole_step_seconds(small, 8));
    EXPECT_EQ(small.memory[1].bytes, whole_memory_bytes(small, 8));
    const auto ample = measure_steps(problem.recipe, problem.preprocessing, problem.matrices.train, batches).value();
    ASSERT_EQ(ample.steps.size(), 3U);
    EXPECT_NE(ample.steps[2].seconds, whole_step_seconds(ample, 8)) << "it was run";
    EXPECT_EQ(ample.blocks.size(), 4U);
    TextProblem split;
    split.recipe.distribution.strategy = DistributionKind::pipeline;
    const auto parts = measure_steps(split.recipe, split.preprocessing, split.matrices.train, batches).value();
    EXPECT_EQ(parts.steps[2].seconds, whole_step_seconds(parts, 8)) << "nobody will train the whole";
    EXPECT_EQ(ample.parameter_bytes, problem.program().parameter_bytes());
}

} // namespace
} // namespace muster::worker
