/// When the stages of a split model have replicas, and what such a plan keeps to.
#include "base/testing_text.h"
#include "planner/cost.h"
#include "planner/pipeline_plan.h"
#include "planner/testing_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace muster::planner {
namespace {

/// Four blocks of 10 ms with 10 MB of parameters each, on four functions of which none can hold more than three; two
/// micro-batches of 4 rows. A hop takes 0.2 ms.
Question four_functions(double bytes_per_second) {
    Question question{
        .batch = 8, .steps = 100, .strategy = DistributionKind::pipeline, .setup_seconds_per_member = 0.0};
    for (int i = 1; i <= 4; ++i) {
        Candidate candidate{.dn = "ManagedElement=gnb-" + std::to_string(i) + ",MLTrainingFunction=1",
                            .memory_bytes = 250 * mb,
                            .cpu_cores = 4.0};
        Calibration& measured = candidate.calibration;
        measured.micro_rows = 4;
        measured.parameter_bytes = 40 * mb;
        measured.latency_seconds = 6 * 0.0002;
        measured.bytes_per_second = bytes_per_second;
        measured.blocks = std::vector<BlockCost>(
            4, {.name = "block", .seconds = 0.01, .state_bytes = 40 * mb, .activation_bytes = mb});
        measured.steps = {{4, 0.04}, {8, 0.08}};
        measured.memory = {{4, 300 * mb}, {8, 310 * mb}};
        question.candidates.push_back(std::move(candidate));
    }
    return question;
}

TEST(ReplicatedPlan, is_chosen_where_a_longer_chain_would_be_filled_and_drained) {
    const auto plan = decide(four_functions(1e11));
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    // Four stages: 40 ms through and 10 ms for the second micro-batch. Two replicas of two stages: 40 ms through for
    // one micro-batch, and two hops and 20 MB of sums.
    const PlanCandidate& best = chosen(plan);
    EXPECT_EQ(best.name, "pipeline, 2 stages x 2 replicas");
    EXPECT_EQ(best.strategy, Strategy::pipeline);
    EXPECT_EQ(best.micro_rows, 4);
    EXPECT_NEAR(best.step_seconds, 0.040 + 0.0004 + 0.0002, 1e-9);
    EXPECT_NEAR(best.total_seconds, 100 * best.step_seconds, 1e-9);
    EXPECT_EQ(best.wire_bytes_per_step, 20 * mb);
    ASSERT_EQ(best.members.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(best.members[i].batch_rows, 4);
        EXPECT_EQ(best.members[i].stage.first_block, i % 2 == 0 ? 0 : 2) << "a replica after the other";
        EXPECT_EQ(best.members[i].stage.blocks, 2);
        EXPECT_NEAR(best.members[i].share, 0.25, 1e-9);
        EXPECT_NEAR(best.members[i].compute_seconds, 0.020, 1e-9);
    }
    EXPECT_EQ(plan->why,
              "the recipe asks for a split model; each of 2 replicas has blocks 0 to 1 and 2 to 3: gnb-1 and gnb-2 for "
              "50 % of the rows, gnb-3 and gnb-4 for 50 %");
    ASSERT_EQ(plan->candidates.size(), 3U);
    EXPECT_EQ(plan->candidates[2].name, "model, by speed");
    EXPECT_NEAR(plan->candidates[2].step_seconds, 0.050, 1e-9);
    EXPECT_EQ(plan->candidates[2].reason, "rejected: 1.23x slower than with replicas of the stages");
}

TEST(ReplicatedPlan, is_shown_beside_one_replica_that_is_fast_enough) {
    auto question = four_functions(1e11);
    question.model_error = 0.15;
    const auto careful = decide(question);
    ASSERT_TRUE(careful.ok());
    EXPECT_EQ(chosen(careful).name, "model, by speed");
    EXPECT_EQ(careful->candidates.back().reason, "rejected: 1.23x as fast as with one replica");

    const auto thin = decide(four_functions(1e9)); // 20 ms for the sums
    ASSERT_TRUE(thin.ok());
    EXPECT_EQ(chosen(thin).name, "model, by speed");
    EXPECT_NEAR(thin->candidates.back().step_seconds, 0.040 + 0.0004 + 0.020, 1e-9);
}

TEST(ReplicatedPlan, waits_for_the_processor_that_adds_slowly) {
    auto question = four_functions(1e11);
    question.candidates[3].cpu_cores = 0.5;
    question.candidates[3].calibration.link_cpu_seconds_per_byte = 0.5e-9; // 20 MB take it 20 ms
    const auto replicated = best_replicated_pipeline(question);
    ASSERT_TRUE(replicated);
    EXPECT_NEAR(replicated->step_seconds, 0.060, 1e-9);
}

TEST(ReplicatedPlan, begins_each_replica_where_the_data_is) {
    auto question = four_functions(1e11);
    question.candidates[0].holds_data = question.candidates[2].holds_data = false;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    ASSERT_EQ(chosen(plan).members.size(), 4U);
    EXPECT_EQ(chosen(plan).members[0].dn, question.candidates[1].dn);
    EXPECT_EQ(chosen(plan).members[2].dn, question.candidates[3].dn);
    EXPECT_TRUE(has(plan->why, "; gnb-2 and gnb-4 hold the data"));
    question.candidates[1].holds_data = false;
    EXPECT_FALSE(best_replicated_pipeline(question));
    EXPECT_EQ(chosen(decide(question)).name, "model, by speed");
}

TEST(ReplicatedPlan, scores_the_rows_in_the_replicas_parts) {
    auto question = four_functions(1e11);
    question.scoring = {.rows = 4000};
    const auto replicated = best_replicated_pipeline(question);
    ASSERT_TRUE(replicated);
    EXPECT_NEAR(replicated->scoring_seconds, 500 * 0.020 / 3.0, 1e-6) << "500 micro-batches each, forward only";
}

TEST(ReplicatedPlan, needs_four_functions_and_a_chain) {
    auto question = four_functions(1e11);
    question.candidates.pop_back();
    EXPECT_FALSE(best_replicated_pipeline(question));
    question = four_functions(1e11);
    question.candidates[1].calibration.blocks.clear();
    EXPECT_FALSE(best_replicated_pipeline(question));
}

Question any_question(std::mt19937& random) {
    const auto any = [&](int low, int high) { return std::uniform_int_distribution{low, high}(random); };
    Question question;
    const int layers = any(2, 12);
    for (int i = any(2, 9); i > 0; --i) {
        question.candidates.push_back(chain_function("f" + std::to_string(i), any(2, 8) / 4.0, any(250, 700), layers));
        question.candidates.back().holds_data = any(0, 3) > 0;
        question.candidates.back().calibration.bytes_per_second = any(1, 100) * 1e8;
    }
    question.batch = any(1, 64);
    question.steps = 100;
    question.strategy = any(0, 1) == 0 ? DistributionKind::automatic : DistributionKind::pipeline;
    return question;
}

const Candidate& function_of(const Question& question, const PlanMember& member) {
    return *std::ranges::find(question.candidates, member.dn, &Candidate::dn);
}

/// What every split plan keeps to.
void check_split(const Question& question, const PlanCandidate& plan) {
    const auto begins = [](const PlanMember& member) { return member.stage.first_block == 0; };
    const auto replicas = static_cast<std::size_t>(std::ranges::count_if(plan.members, begins));
    const std::size_t stages = plan.members.size() / replicas;
    ASSERT_EQ(plan.members.size(), replicas * stages);
    std::map<std::string, int> used;
    std::int64_t rows = 0;
    std::int64_t next = 0;
    double share = 0.0;
    for (std::size_t rank = 0; rank < plan.members.size(); ++rank) {
        const PlanMember& member = plan.members[rank];
        const Candidate& function = function_of(question, member);
        EXPECT_EQ(begins(member), rank % stages == 0);
        EXPECT_TRUE(!begins(member) || function.holds_data);
        EXPECT_EQ(member.stage.first_block, begins(member) ? 0 : next);
        next = member.stage.end();
        EXPECT_EQ(next == std::ssize(function.calibration.blocks), rank % stages == stages - 1);
        EXPECT_EQ(next, plan.members[rank % stages].stage.end()) << "replicas are cut alike";
        EXPECT_EQ(member.batch_rows, plan.members[rank - rank % stages].batch_rows);
        EXPECT_GE(member.batch_rows, 1);
        EXPECT_LE(member.peak_memory_bytes, function.memory_bytes);
        EXPECT_EQ(++used[member.dn], 1) << member.dn;
        rows += begins(member) ? member.batch_rows : 0;
        share += member.share;
    }
    EXPECT_EQ(rows, question.batch);
    EXPECT_NEAR(share, 1.0, 1e-9);
}

TEST(ReplicatedPlan, keeps_to_its_rules_for_300_random_questions) {
    std::mt19937 random{23};
    int replicated = 0;
    for (int instance = 0; instance < 300; ++instance) {
        SCOPED_TRACE(instance);
        const Question question = any_question(random);
        if (const auto several = best_replicated_pipeline(question)) {
            check_split(question, *several);
        }
        const auto plan = decide(question);
        if (!plan || chosen(plan).strategy != Strategy::pipeline) {
            continue;
        }
        check_split(question, chosen(plan));
        if (chosen(plan).name != "model, by speed") {
            ++replicated;
            const auto one = best_pipeline(question);
            EXPECT_TRUE(!one || one->total_seconds > 1.2 * chosen(plan).total_seconds);
        }
    }
    EXPECT_GT(replicated, 10);
}

} // namespace
} // namespace muster::planner
