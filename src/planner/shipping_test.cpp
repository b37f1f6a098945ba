/// Functions that would be shipped the rows: when that pays, and from whom they come.
#include "base/testing_text.h"
#include "planner/cost.h"
#include "planner/testing_chain.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace muster::planner {
namespace {

Candidate receiver(const std::string& name, double speed, std::vector<std::string> from) {
    Candidate candidate = chain_function(name, speed, 0);
    candidate.holds_data = false;
    candidate.rows_from = std::move(from);
    return candidate;
}

std::string dn_of(const std::string& name) {
    return chain_function(name, 1.0, 0).dn;
}

/// One holder and one that is much faster; 100 MB of rows.
Question holder_and_receiver() {
    auto question = question_of({chain_function("a", 1.0, 0), receiver("fast", 9.0, {dn_of("a")})});
    question.strategy = DistributionKind::data_parallel;
    question.row_bytes = 100 * mb;
    for (Candidate& candidate : question.candidates) {
        candidate.calibration.bytes_per_second = 50e6;
    }
    return question;
}

TEST(Shipping, lets_a_function_without_the_data_share_the_rows) {
    const auto plan = decide(holder_and_receiver());
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    const PlanCandidate& best = plan->chosen_candidate();
    ASSERT_EQ(best.members.size(), 2U);
    EXPECT_EQ(best.members[0].rows_from, "");
    EXPECT_EQ(best.members[1].rows_from, dn_of("a"));
    EXPECT_GT(best.members[1].batch_rows, best.members[0].batch_rows);
    EXPECT_DOUBLE_EQ(best.shipping_seconds, 2.0);
    EXPECT_TRUE(has(plan->why,
                    "MLTrainingFunction=a ships 100.0 MB of rows to MLTrainingFunction=fast, predicted to take 2.0 s"));
}

TEST(Shipping, takes_longer_where_the_sender_limits_it_or_several_are_sent_the_rows) {
    auto question = holder_and_receiver();
    question.candidates[0].ship_bytes_per_second_max = 10 * mb;
    EXPECT_DOUBLE_EQ(decide(question)->chosen_candidate().shipping_seconds, 10.0);
    question.candidates.push_back(receiver("other", 9.0, {dn_of("a")}));
    question.candidates.back().calibration.bytes_per_second = 50e6;
    const auto three = priced(question, {0, 1, 2}, {1, 1, 1}, "all");
    EXPECT_DOUBLE_EQ(three.shipping_seconds, 20.0);
    auto quick = question;
    quick.row_bytes = 0;
    EXPECT_DOUBLE_EQ(three.total_seconds - priced(quick, {0, 1, 2}, {1, 1, 1}, "all").total_seconds, 20.0);
}

TEST(Shipping, that_takes_longer_than_it_saves_is_not_done) {
    auto question = holder_and_receiver();
    question.strategy = DistributionKind::automatic;
    question.candidates[0].ship_bytes_per_second_max = 1;
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    for (const PlanMember& member : plan->chosen_candidate().members) {
        EXPECT_EQ(member.rows_from, "") << plan->why;
    }
}

TEST(Shipping, needs_its_sender_among_the_members) {
    auto question = question_of({chain_function("strict", 1.0, 0),
                                 chain_function("a", 1.0, 0),
                                 receiver("x", 1.0, {dn_of("a")}),
                                 receiver("y", 1.0, {dn_of("a")}),
                                 receiver("z", 1.0, {dn_of("strict")}),
                                 receiver("alone", 1.0, {})});
    EXPECT_EQ(sender_of(question), 1U) << "it has more receivers";
    EXPECT_EQ(readers_of(question), (Subset{0, 1, 2, 3}));
    for (const Subset& subset : subsets_of(question)) {
        const bool receives = std::ranges::any_of(subset, [](std::size_t index) { return index > 1; });
        EXPECT_TRUE(!receives || std::ranges::find(subset, 1U) != subset.end());
    }
    EXPECT_EQ(subsets_of(question).size(), 7U);
    for (int i = 0; i < 12; ++i) {
        question.candidates.push_back(receiver("more" + std::to_string(i), 5.0 + i, {dn_of("a")}));
    }
    const auto many = subsets_of(question);
    EXPECT_FALSE(many.empty());
    EXPECT_TRUE(std::ranges::any_of(many, [](const Subset& subset) { return subset.size() > 10; }));
    for (const Subset& subset : many) {
        EXPECT_TRUE(subset == (Subset{0, 1}) || std::ranges::find(subset, 1U) != subset.end());
    }
}

} // namespace
} // namespace muster::planner
