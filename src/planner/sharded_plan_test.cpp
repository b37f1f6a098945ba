#include "planner/sharded_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace muster::planner {
namespace {

constexpr std::int64_t mega = 1'000'000;

/// A function of `rate` rows a second that offers `memory` MB. The model has 100 MB of parameters; with AdamW its
/// process takes 500 MB (100 of its own, 100 parameters, 100 gradients, 200 state) and 1 MB for each row.
Candidate function(const std::string& name, double rate, std::int64_t memory) {
    const auto seconds = [&](std::int64_t rows) { return static_cast<double>(rows) / rate; };
    return {.dn = "ManagedElement=" + name + ",MLTrainingFunction=1",
            .calibration = {.steps = {{16, seconds(16)}, {32, seconds(32)}, {64, seconds(64)}},
                            .memory = {{1, 501 * mega}, {64, 564 * mega}},
                            .parameter_bytes = 100 * mega,
                            .latency_seconds = 0.0002,
                            .bytes_per_second = 1e9},
            .memory_bytes = memory * mega,
            .cpu_cores = 8.0};
}

Question question_of(std::vector<Candidate> candidates) {
    return {.candidates = std::move(candidates), .batch = 128, .steps = 1000, .state_per_parameter = 2};
}

double sum_of_shares(const PlanCandidate& candidate) {
    return std::accumulate(candidate.members.begin(),
                           candidate.members.end(),
                           0.0,
                           [](double sum, const PlanMember& member) { return sum + member.state_share; });
}

TEST(StateShares, fill_all_members_to_the_same_part) {
    EXPECT_EQ(state_shares(std::vector<std::int64_t>{300, 100}, 200), (std::vector<double>{0.75, 0.25}));
    EXPECT_EQ(state_shares(std::vector<std::int64_t>{0, 7}, 7), (std::vector<double>{0.0, 1.0}));
    EXPECT_EQ(state_shares(std::vector<std::int64_t>{0, 0}, 0), (std::vector<double>{0.5, 0.5}));
}

TEST(ShardedPlan, appears_when_the_whole_state_fits_nowhere) {
    // Rows by speed: 96 and 32. Without state 396 and 332 MB, so 24 and 128 MB are free of 420 and 460: 152 for 200.
    auto question = question_of({function("gnb-1", 300, 420), function("gnb-2", 100, 460)});
    EXPECT_NE(decide(question).error().message.find("48 MB are missing"), std::string::npos)
        << decide(question).error().message;
    question.candidates[1].memory_bytes = 510 * mega; // 178 MB free: 202 for 200
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    const PlanCandidate& chosen = plan->chosen_candidate();
    EXPECT_EQ(chosen.name, "data, sharded state");
    EXPECT_EQ(chosen.strategy, Strategy::data_parallel);
    EXPECT_TRUE(chosen.state_sharded && chosen.fits);
    ASSERT_EQ(chosen.members.size(), 2U);
    EXPECT_EQ(chosen.members[0].batch_rows, 96);
    EXPECT_NEAR(chosen.members[0].state_share, 24.0 / 202.0, 1e-9);
    EXPECT_NEAR(chosen.members[1].state_share, 178.0 / 202.0, 1e-9);
    EXPECT_NEAR(sum_of_shares(chosen), 1.0, 1e-9);
    EXPECT_NEAR(static_cast<double>(chosen.members[0].peak_memory_bytes), 396e6 + 24.0 / 202.0 * 200e6, 2.0);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_LE(chosen.members[i].peak_memory_bytes, question.candidates[i].memory_bytes);
    }
    EXPECT_EQ(plan->why,
              "the job fits no function with the whole optimizer state: of 200 MB gnb-1 keeps 12 %, gnb-2 keeps 88 %");
    ASSERT_EQ(plan->candidates.size(), 3U);
    EXPECT_FALSE(plan->candidates[0].fits);
    EXPECT_EQ(plan->candidates[0].reason, "rejected: 628 MB of memory are needed, gnb-2 offers 510 MB");
    EXPECT_EQ(plan->candidates[1].reason, "rejected: 564 MB of memory are needed, gnb-1 offers 420 MB");
}

TEST(ShardedPlan, is_not_made_where_the_whole_state_fits) {
    const auto plan = decide(question_of({function("gnb-1", 300, 700), function("gnb-2", 100, 700)}));
    ASSERT_TRUE(plan.ok());
    for (const PlanCandidate& candidate : plan->candidates) {
        EXPECT_FALSE(candidate.state_sharded);
        EXPECT_TRUE(
            std::ranges::all_of(candidate.members, [](const auto& member) { return member.state_share == 1.0; }));
    }
}

TEST(ShardedPlan, is_what_the_recipe_asks_for) {
    auto question = question_of({function("gnb-1", 300, 800), function("gnb-2", 100, 700)});
    question.state = StateKind::sharded;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan->chosen_candidate().state_sharded);
    // 404 and 368 MB are free.
    EXPECT_EQ(plan->why, "the recipe asks for sharded optimizer state: of 200 MB gnb-1 keeps 52 %, gnb-2 keeps 48 %");
    EXPECT_EQ(plan->candidates.front().reason, "rejected: the recipe asks for sharded optimizer state");
    question.candidates.pop_back();
    EXPECT_EQ(decide(question)->chosen_candidate().strategy, Strategy::one_function) << "which keeps all there is";
}

TEST(ShardedPlan, is_not_made_when_the_recipe_rules_it_out) {
    auto question = question_of({function("gnb-1", 300, 420), function("gnb-2", 100, 510)});
    question.state = StateKind::replicated;
    EXPECT_NE(decide(question).error().message.find("it would with sharded optimizer state"), std::string::npos);
    question.state = StateKind::automatic;
    question.strategy = DistributionKind::one_function;
    EXPECT_FALSE(decide(question).ok());
}

TEST(ShardedPlan, says_what_is_missing_when_it_is_too_large_for_all_together) {
    auto question = question_of({function("gnb-1", 300, 396), function("gnb-2", 100, 340)});
    question.state = StateKind::sharded;
    const auto refused = decide(question);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_EQ(refused.error().message,
              "the recipe asks for sharded optimizer state: of 200 MB 2 functions together have room for 8 MB, 192 MB "
              "are missing");
    question.candidates[0].memory_bytes = 310 * mega;
    EXPECT_EQ(decide(question).error().message,
              "the recipe asks for sharded optimizer state: even without that state memory allows 50 rows in a step, "
              "the batch has 128");
    question.candidates[0].memory_bytes = question.candidates[1].memory_bytes = 200 * mega;
    EXPECT_EQ(decide(question).error().message,
              "the recipe asks for sharded optimizer state: not even one row fits any function without that state");
}

TEST(ShardedPlan, gives_rows_by_speed_and_state_by_memory) {
    // The slow one has the memory: batch by compute, state by memory.
    auto question = question_of({function("fast", 300, 400), function("slow", 30, 2000), function("small", 100, 345)});
    question.state = StateKind::sharded;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    const auto& members = plan->chosen_candidate().members;
    ASSERT_EQ(members.size(), 3U);
    EXPECT_GT(members[0].batch_rows, 5 * members[1].batch_rows);
    EXPECT_GT(members[1].state_share, 0.9);
}

TEST(ShardedPlan, shares_the_state_evenly_where_no_limit_is_known) {
    auto question = question_of({function("gnb-1", 100, 0), function("gnb-2", 100, 0)});
    question.state = StateKind::sharded;
    EXPECT_EQ(decide(question)->chosen_candidate().members[0].state_share, 0.5);
}

TEST(ShardedPlan, gathers_after_the_backward_pass) {
    auto question = question_of({function("gnb-1", 100, 0), function("gnb-2", 100, 0)});
    question.overlap = 1.0;
    const auto whole = decide(question)->candidates.back();
    question.state = StateKind::sharded;
    const auto sharded = decide(question)->chosen_candidate();
    ASSERT_FALSE(whole.state_sharded);
    EXPECT_NEAR(sharded.step_seconds - whole.step_seconds, 0.05, 0.001) << "half of 100 MB at 1 GB/s";
    EXPECT_EQ(sharded.wire_bytes_per_step, whole.wire_bytes_per_step);
}

} // namespace
} // namespace muster::planner
