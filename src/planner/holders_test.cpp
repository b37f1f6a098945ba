/// Functions that do not hold the data: where they may take part, and what is said where they may not.
#include "base/testing_text.h"
#include "planner/cost.h"
#include "planner/sharded_plan.h"
#include "planner/stages.h"
#include "planner/testing_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace muster::planner {
namespace {

/// The same without the data.
Candidate without_data(Candidate candidate) {
    candidate.holds_data = false;
    return candidate;
}

bool takes_part(const PlanCandidate& candidate, const std::string& name) {
    return std::ranges::any_of(candidate.members,
                               [&](const PlanMember& member) { return member.dn.ends_with("=" + name); });
}

TEST(Holders, alone_read_rows) {
    const auto question = question_of({chain_function("a", 1.0, 0),
                                       without_data(chain_function("fast", 9.0, 0)),
                                       chain_function("b", 1.0, 0),
                                       without_data(chain_function("faster", 10.0, 0))});
    EXPECT_EQ(holders_of(question), (Subset{0, 2}));
    EXPECT_EQ(subsets_of(question), (std::vector<Subset>{{0, 2}}));
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    for (const PlanCandidate& candidate : plan->candidates) {
        if (candidate.strategy != Strategy::pipeline) {
            EXPECT_FALSE(takes_part(candidate, "fast") || takes_part(candidate, "faster")) << candidate.name;
        }
    }
}

TEST(Holders, of_many_functions_are_those_that_subsets_are_made_of) {
    auto question = question_of({});
    for (int i = 0; i < 14; ++i) {
        question.candidates.push_back(chain_function("f" + std::to_string(i), 1.0 + i, 0));
        question.candidates.back().holds_data = i < 11;
    }
    const auto subsets = subsets_of(question);
    EXPECT_EQ(subsets.size(), 10U);
    EXPECT_EQ(subsets.front(), (Subset{10, 9})) << "the fastest two that hold the data";
}

TEST(Holders, have_the_first_stage_of_a_split_model) {
    auto question = question_of({without_data(chain_function("fast", 2.0, 0)), chain_function("slow", 1.0, 0)});
    question.strategy = DistributionKind::pipeline;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    ASSERT_EQ(chosen(plan).members.size(), 2U);
    EXPECT_TRUE(chosen(plan).members[0].dn.ends_with("slow"));
    EXPECT_TRUE(has(plan->why, "; MLTrainingFunction=slow holds the data"));
    question.candidates[0].holds_data = true;
    EXPECT_FALSE(has(decide(question)->why, "the data")) << "no word where all do";
}

TEST(Holders, are_helped_by_others_where_the_model_fits_none_of_them) {
    const auto plan = decide(question_of({chain_function("a", 1.0, 400), without_data(chain_function("b", 1.0, 900))}));
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    EXPECT_EQ(chosen(plan).strategy, Strategy::pipeline);
    EXPECT_TRUE(has(plan->why, "the job fits no function that holds the data; blocks 0 to "));
    EXPECT_TRUE(has(plan->why, "; MLTrainingFunction=a holds the data"));
    EXPECT_TRUE(has(plan->candidates.front().reason, "a offers 400 MB"));
}

TEST(Holders, are_what_one_function_or_rows_are_asked_of) {
    auto question = question_of({chain_function("a", 1.0, 0), without_data(chain_function("b", 5.0, 0))});
    question.strategy = DistributionKind::one_function;
    EXPECT_TRUE(takes_part(chosen(decide(question)), "a"));
    question.strategy = DistributionKind::data_parallel;
    EXPECT_TRUE(has(decide(question).error().message,
                    "it needs two functions that hold the data, and of 2 that take part one does"));
    question.strategy = DistributionKind::automatic;
    question.candidates[1].calibration.bytes_per_second = 1e3;
    question.candidates[0].calibration.bytes_per_second = 1e3;
    EXPECT_EQ(decide(question)->why, "one function holds the data and the job fits it");
    question.candidates[0].memory_bytes = 150 * mb;
    question.strategy = DistributionKind::one_function;
    EXPECT_TRUE(has(decide(question).error().message,
                    "the best available function of those that hold the data, MLTrainingFunction=a, offers 150 MB"));
    for (Candidate& candidate : question.candidates) {
        candidate.holds_data = false;
    }
    EXPECT_EQ(decide(question).error().message, "none of 2 functions that take part holds the data");
    EXPECT_EQ(decide(question).error().code, ErrorCode::unavailable);
}

TEST(Holders, have_the_state_that_is_cut) {
    auto question = question_of({chain_function("a", 1.0, 0), without_data(chain_function("b", 1.0, 0))});
    EXPECT_EQ(best_sharded(question).error().code, ErrorCode::invalid_argument);
    question.candidates.push_back(chain_function("c", 1.0, 0));
    const auto sharded = best_sharded(question);
    ASSERT_TRUE(sharded.ok());
    EXPECT_FALSE(takes_part(*sharded, "b"));
}

TEST(Holders, are_named_where_the_first_block_fits_none) {
    const std::vector<ChainBlock> blocks(2, {.name = "embedding", .seconds = 1.0, .state_bytes = 100 * mb});
    std::vector<StageFunction> functions{{.memory_bytes = 50 * mb}, {.memory_bytes = 500 * mb, .may_be_first = false}};
    EXPECT_EQ(cut(blocks, functions, 4).error().message,
              "block \"embedding\" fits no function that holds the data: alone it needs 100 MB, the nearest one offers "
              "50 MB");
    functions[0].may_be_first = false;
    EXPECT_EQ(cut(blocks, functions, 4).error().message, "the first stage reads the data, and no function holds it");
    functions = {{.memory_bytes = 100 * mb}, {.memory_bytes = 50 * mb, .may_be_first = false}};
    EXPECT_EQ(
        cut(blocks, functions, 4).error().message,
        "each block fits some function, but no cut of the 2 blocks fits 2 functions together, of which 1 with the "
        "data for the first stage");
}

TEST(Holders, begin_every_cut_of_random_chains) {
    std::mt19937 random{11};
    const auto any = [&](int low, int high) { return std::uniform_int_distribution{low, high}(random); };
    int possible = 0;
    for (int instance = 0; instance < 200; ++instance) {
        std::vector<ChainBlock> blocks;
        for (int i = any(2, 8); i > 0; --i) {
            blocks.push_back({.name = "b",
                              .seconds = static_cast<double>(any(1, 20)),
                              .state_bytes = any(1, 50) * mb,
                              .activation_bytes = any(1, 20) * mb,
                              .input_bytes = any(0, 5) * mb});
        }
        std::vector<StageFunction> functions;
        for (int i = any(2, 8); i > 0; --i) {
            functions.push_back({.speed = any(1, 8) / 4.0,
                                 .memory_bytes = any(30, 250) * mb,
                                 .bytes_per_second = 1e9,
                                 .may_be_first = any(0, 2) == 0});
        }
        const auto found = cut(blocks, functions, any(1, 6));
        if (found) {
            ++possible;
            EXPECT_TRUE(functions[found->stages.front().function].may_be_first) << instance;
        }
    }
    EXPECT_GT(possible, 50);
}

} // namespace
} // namespace muster::planner
