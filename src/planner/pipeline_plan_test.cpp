/// When a model is split over functions, and how.
#include "base/testing_text.h"
#include "planner/pipeline_plan.h"
#include "planner/testing_chain.h"

#include <gtest/gtest.h>

namespace muster::planner {
namespace {

TEST(PipelinePlan, splits_a_model_that_fits_no_function) {
    const auto plan = decide(
        question_of({chain_function("a", 1.0, 400), chain_function("b", 1.0, 400), chain_function("c", 1.0, 400)}));
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    EXPECT_EQ(chosen(plan).strategy, Strategy::pipeline);
    EXPECT_EQ(chosen(plan).micro_rows, 4);
    EXPECT_TRUE(has(plan->why, "the job fits no single function's memory; blocks 0 to "));
    EXPECT_TRUE(has(plan->candidates.front().reason, "MB of memory are needed"));
    EXPECT_FALSE(plan->candidates.front().fits);
    std::int64_t next = 0;
    double share = 0.0;
    for (const PlanMember& member : chosen(plan).members) {
        EXPECT_EQ(member.stage.first_block, next);
        EXPECT_EQ(member.batch_rows, 32);
        EXPECT_LE(member.peak_memory_bytes, 400 * mb);
        next = member.stage.end();
        share += member.share;
    }
    EXPECT_EQ(next, 12);
    EXPECT_NEAR(share, 1.0, 1e-9);
}

TEST(PipelinePlan, gives_a_slow_function_fewer_blocks) {
    auto question = question_of({chain_function("fast", 1.0, 0), chain_function("slow", 0.5, 0)});
    question.strategy = DistributionKind::pipeline;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    ASSERT_EQ(chosen(plan).members.size(), 2U);
    for (const PlanMember& member : chosen(plan).members) {
        EXPECT_NEAR(member.share, member.dn.ends_with("fast") ? 0.667 : 0.333, 0.06) << member.dn;
    }
    EXPECT_TRUE(has(plan->why, "the recipe asks for a split model"));
    EXPECT_EQ(plan->candidates.size(), 2U);
}

TEST(PipelinePlan, splits_where_gradients_would_wait_for_a_thin_link) {
    auto wide = question_of({chain_function("a", 1.0, 0), chain_function("b", 1.0, 0)});
    const auto by_rows = decide(wide);
    ASSERT_TRUE(by_rows.ok());
    EXPECT_NE(chosen(by_rows).strategy, Strategy::pipeline);
    EXPECT_TRUE(has(by_rows->candidates.back().reason, "rejected: ")) << "it is shown all the same";
    EXPECT_EQ(by_rows->candidates.back().strategy, Strategy::pipeline);
    for (Candidate& candidate : wide.candidates) {
        candidate.calibration.bytes_per_second = 50e6; // 110 MB of gradients, 8 MB of activations
    }
    const auto by_blocks = decide(wide);
    ASSERT_TRUE(by_blocks.ok());
    EXPECT_EQ(chosen(by_blocks).strategy, Strategy::pipeline);
    EXPECT_TRUE(has(by_blocks->why, "the model is split: predicted "));
}

TEST(PipelinePlan, recomputes_where_activations_do_not_fit) {
    auto question = question_of({chain_function("a", 1.0, 400), chain_function("b", 1.0, 400)});
    question.strategy = DistributionKind::pipeline;
    for (Candidate& candidate : question.candidates) {
        for (BlockCost& block : candidate.calibration.blocks) {
            block.activation_bytes = 8 * mb;
            block.state_bytes /= 2;
        }
    }
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    EXPECT_FALSE(chosen(plan).members.back().stage.recompute) << "it keeps one micro-batch only";
    for (Candidate& candidate : question.candidates) {
        candidate.memory_bytes = 290 * mb;
    }
    const auto tight = decide(question);
    ASSERT_TRUE(tight.ok()) << tight.error().text();
    EXPECT_TRUE(chosen(tight).members.front().stage.recompute);
}

TEST(PipelinePlan, does_what_the_recipe_asks_for) {
    auto question = question_of({chain_function("a", 1.0, 0), chain_function("b", 1.0, 0)});
    question.strategy = DistributionKind::one_function;
    EXPECT_EQ(chosen(decide(question)).strategy, Strategy::one_function);
    question.strategy = DistributionKind::data_parallel;
    EXPECT_EQ(chosen(decide(question)).strategy, Strategy::data_parallel);
    question.strategy = DistributionKind::pipeline;
    EXPECT_EQ(chosen(decide(question)).strategy, Strategy::pipeline);
}

TEST(PipelinePlan, says_what_is_missing) {
    const auto small = decide(question_of({chain_function("a", 1.0, 110), chain_function("b", 1.0, 140)}));
    ASSERT_FALSE(small.ok());
    EXPECT_TRUE(has(small.error().message, "nor does it fit in stages: block \"block 1\" fits no function"));
    EXPECT_TRUE(has(small.error().message, "the nearest one offers 140 MB"));

    auto alone = question_of({chain_function("a", 1.0, 0)});
    alone.strategy = DistributionKind::pipeline;
    EXPECT_TRUE(has(decide(alone).error().message, "a model is split over several functions, and there is only one"));

    auto flat = question_of({chain_function("a", 1.0, 0), chain_function("b", 1.0, 0)});
    flat.strategy = DistributionKind::pipeline;
    flat.candidates[1].calibration.blocks.clear();
    EXPECT_TRUE(has(decide(flat).error().message, "the model is no chain of blocks and cannot be split"));
}

} // namespace
} // namespace muster::planner
