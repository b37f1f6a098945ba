#include "planner/pinned_plan.h"
#include "planner/testing_chain.h"

#include <gtest/gtest.h>

namespace muster::planner {
namespace {

/// A slow site with most rows and a fast one with few.
Question pinned_question() {
    auto question = question_of({chain_function("slow", 1.0, 0), chain_function("fast", 9.0, 0)});
    question.layout = DataLayout::pinned;
    question.candidates[0].rows = 7'000;
    question.candidates[1].rows = 3'000;
    question.batch = 100;
    return question;
}

TEST(PinnedPlan, gives_each_site_the_part_of_a_batch_that_it_owns_whatever_its_speed) {
    const auto plan = decide(pinned_question());
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    ASSERT_EQ(plan->candidates.size(), 1U);
    const PlanCandidate& only = plan->chosen_candidate();
    EXPECT_EQ(only.name, "data, pinned");
    EXPECT_EQ(only.layout, DataLayout::pinned);
    EXPECT_EQ(only.strategy, Strategy::data_parallel);
    EXPECT_EQ(only.members[0].batch_rows, 70);
    EXPECT_EQ(only.members[1].batch_rows, 30);
    EXPECT_GE(only.step_seconds, only.members[0].compute_seconds);
    EXPECT_NE(plan->why.find("slow owns 70 % of the rows, MLTrainingFunction=fast 30 %"), std::string::npos)
        << plan->why;
    EXPECT_NE(plan->why.find("a step waits for MLTrainingFunction=slow"), std::string::npos) << plan->why;
}

TEST(PinnedPlan, is_refused_where_a_site_lacks_memory_or_rows_for_its_part) {
    auto question = pinned_question();
    question.candidates[0].memory_bytes = 1'000'000;
    auto plan = decide(question);
    ASSERT_FALSE(plan.ok());
    EXPECT_NE(plan.error().text().find("slow offers 1 MB"), std::string::npos) << plan.error().text();
    question = pinned_question();
    question.candidates[1].rows = 20;
    plan = decide(question);
    ASSERT_FALSE(plan.ok());
    EXPECT_NE(plan.error().text().find("fast has 20 training rows"), std::string::npos) << plan.error().text();
}

TEST(PinnedPlan, deals_a_batch_out_by_largest_remainder) {
    const auto parts = [](std::vector<std::int64_t> rows, std::int64_t batch) { return in_proportion(rows, batch); };
    EXPECT_EQ(parts({1, 1, 1}, 10), (std::vector<std::int64_t>{4, 3, 3}));
    EXPECT_EQ(parts({640, 60, 300}, 64), (std::vector<std::int64_t>{41, 4, 19}));
    EXPECT_EQ(parts({5}, 3), (std::vector<std::int64_t>{3}));
    EXPECT_EQ(parts({1LL << 40, 1LL << 40}, 1LL << 30), (std::vector<std::int64_t>{1LL << 29, 1LL << 29}));
}

} // namespace
} // namespace muster::planner
