#include "planner/planner.h"
#include "planner/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace muster::planner {
namespace {

double slowest(const std::vector<Cost>& costs, const std::vector<std::int64_t>& rows) {
    double worst = 0.0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
        worst = std::max(worst, costs[i].fixed + costs[i].per_row * static_cast<double>(rows[i]));
    }
    return worst;
}

/// Tries every split of `left` rows over costs[at...].
void search(
    const std::vector<Cost>& costs, std::size_t at, std::int64_t left, std::vector<std::int64_t>& rows, double& best) {
    if (at + 1 == costs.size()) {
        if (left <= costs[at].cap) {
            rows[at] = left;
            best = std::min(best, slowest(costs, rows));
        }
        return;
    }
    for (std::int64_t b = 0; b <= std::min(left, costs[at].cap); ++b) {
        rows[at] = b;
        search(costs, at + 1, left - b, rows, best);
    }
}

TEST(Split, is_as_good_as_exhaustive_search) {
    std::mt19937 random{7};
    for (int trial = 0; trial < 400; ++trial) {
        std::vector<Cost> costs;
        for (std::size_t n = 1 + random() % 3; costs.size() < n;) {
            costs.push_back({static_cast<double>(random() % 50),
                             0.1 + static_cast<double>(random() % 100) / 10.0,
                             static_cast<std::int64_t>(random() % 20)});
        }
        const auto batch = static_cast<std::int64_t>(1 + random() % 20);
        const auto rows = split(costs, batch);
        std::vector<std::int64_t> scratch(costs.size());
        double best = std::numeric_limits<double>::infinity();
        search(costs, 0, batch, scratch, best);
        ASSERT_EQ(rows.ok(), best < std::numeric_limits<double>::infinity());
        if (rows) {
            EXPECT_EQ(std::accumulate(rows->begin(), rows->end(), std::int64_t{0}), batch);
            EXPECT_NEAR(slowest(costs, *rows), best, 1e-9 * best) << "trial " << trial;
        }
    }
}

TEST(Split, says_how_much_memory_allows) {
    EXPECT_EQ(split(std::vector<Cost>{{0, 1, 5}, {0, 1, 6}}, 12).error().message,
              "memory allows 11 rows in a step, the batch has 12");
}

/// A function of reference algorithms 1.4: `rate` rows a second, `link` bytes a second, 0.2 ms latency.
Candidate worked(const std::string& name, double rate, double link, std::int64_t bytes) {
    const auto seconds = [&](std::int64_t b) { return static_cast<double>(b) / rate; };
    return {.dn = name,
            .calibration = {.steps = {{128, seconds(128)}, {256, seconds(256)}, {512, seconds(512)}},
                            .parameter_bytes = bytes,
                            .latency_seconds = 6 * 0.0002, // four ranks: six hops of 0.2 ms
                            .bytes_per_second = link},
            .cpu_cores = 8.0};
}

struct Worked {
    std::int64_t bytes;
    const char* best;
    double rows_per_second;
};

TEST(Planner, agrees_with_the_worked_example) {
    for (const Worked& row :
         {Worked{4'000'000, "ABC", 2100}, Worked{40'000'000, "AB", 1800}, Worked{400'000'000, "AB", 1179}}) {
        const Question question{.candidates = {worked("A", 1000, 1.25e9, row.bytes),
                                               worked("B", 800, 1.25e9, row.bytes),
                                               worked("C", 300, 1.25e8, row.bytes),
                                               worked("D", 60, 1.25e7, row.bytes)},
                                .batch = 512,
                                .steps = 1000,
                                .model_error = 0.0};
        const auto plan = decide(question);
        ASSERT_TRUE(plan.ok());
        std::string members;
        for (const PlanMember& member : plan->chosen_candidate().members) {
            members += member.dn;
        }
        EXPECT_EQ(members, row.best) << row.bytes;
        EXPECT_NEAR(512 / plan->chosen_candidate().step_seconds, row.rows_per_second, row.rows_per_second * 0.005)
            << row.bytes;
    }
}

TEST(Planner, counts_communication_in_full_where_no_core_is_left_for_it) {
    Question question{.candidates = {worked("A", 1000, 1.25e9, 40'000'000), worked("B", 1000, 1.25e9, 40'000'000)},
                      .batch = 512,
                      .steps = 100};
    const double hidden = decide(question)->chosen_candidate().step_seconds;
    question.candidates[0].cpu_cores = 1.0;
    EXPECT_NEAR(decide(question)->chosen_candidate().step_seconds - hidden, 0.0324, 0.002);
}

TEST(Planner, gives_a_function_less_when_its_link_costs_it_more) {
    Question question{.candidates = {worked("A", 1000, 1e9, 4'000'000), worked("B", 1000, 1e9, 4'000'000)},
                      .batch = 512,
                      .steps = 100};
    for (Candidate& candidate : question.candidates) {
        candidate.calibration.link_cpu_seconds_per_byte = 1e-9; // 4 ms for the gradients
        candidate.cpu_cores = 1.0;
    }
    question.candidates[1].cpu_cores = 0.1; // for which 4 ms of CPU time take 40 ms
    const auto plan = decide(question);
    EXPECT_EQ(plan->chosen_candidate().members[0].batch_rows, 256 + 18);
    EXPECT_NEAR(plan->chosen_candidate().step_seconds, 0.274 + 0.004, 0.002);
}

TEST(Planner, counts_the_scored_rows_as_the_forward_part_of_their_steps) {
    Question question{.candidates = {worked("A", 1000, 1e9, 1000)}, .batch = 512, .steps = 100};
    const double without = decide(question)->chosen_candidate().total_seconds;
    question.scoring = {.rows = 30'000};
    const auto plan = decide(question);
    EXPECT_NEAR(plan->chosen_candidate().scoring_seconds, 10.0, 1e-6) << "a third of 1 ms a row";
    EXPECT_NEAR(plan->chosen_candidate().total_seconds, without + 10.0, 1e-6);
}

TEST(Planner, shares_the_scored_rows_as_batches_are) {
    const Question question{.candidates = {worked("A", 1000, 1e9, 1000), worked("B", 500, 1e9, 1000)},
                            .batch = 512,
                            .steps = 100,
                            .scoring = {.rows = 30'000}};
    const auto plan = decide(question);
    ASSERT_EQ(plan->candidates.size(), 3U);
    EXPECT_NEAR(plan->candidates[0].scoring_seconds, 10.0, 1e-6) << "one function";
    EXPECT_NEAR(plan->candidates[1].scoring_seconds, 10.0, 1e-6) << "equal shares: B takes 2 ms for half of the rows";
    EXPECT_NEAR(plan->candidates[2].scoring_seconds, 10.0 * 2.0 / 3.0, 0.05) << "by speed";
}

TEST(Planner, counts_the_baselines_at_the_first_member) {
    Question question{.candidates = {worked("A", 500, 1e9, 1000), worked("B", 1000, 1e9, 1000)},
                      .batch = 512,
                      .steps = 100,
                      .scoring = {.baseline_passes = 1'000, .columns = 9, .parameters = 1'400}};
    // 4 * 10^2 + 100 * 10 operations of 6 * 1400: a sixth of a step, 2 ms a row at the first function.
    const auto plan = decide(question);
    EXPECT_NEAR(plan->candidates[2].scoring_seconds, 1'000 * 0.002 / 6.0, 1e-6);
    EXPECT_NEAR(plan->candidates[0].scoring_seconds, 1'000 * 0.001 / 6.0, 1e-6) << "B alone is its own first member";
    question.scoring.parameters = 0;
    EXPECT_EQ(decide(question)->candidates[0].scoring_seconds, 0.0);
}

TEST(Planner, answers_one_function_when_the_gain_is_within_the_error) {
    const Question question{
        .candidates = {worked("A", 1000, 1e9, 1000), worked("B", 100, 1e9, 1000)}, .batch = 512, .steps = 100};
    const auto plan = decide(question);
    EXPECT_EQ(plan->chosen_candidate().strategy, Strategy::one_function);
    EXPECT_NE(plan->why.find("distribution is not needed"), std::string::npos);
}

TEST(Planner, shares_rows_where_the_recipe_wants_it_and_it_does_not_pay) {
    Question question{.batch = 720, .steps = 10, .strategy = DistributionKind::data_parallel};
    for (const char* name : {"a", "b"}) {
        Candidate function = worked(name, 1e6, 1e9, 200'000);
        function.calibration.steps = {{90, 0.004}, {180, 0.004}, {360, 0.004}}; // rows cost nothing
        question.candidates.push_back(std::move(function));
    }
    question.candidates[1].calibration.steps = {{90, 0.4}, {180, 0.4}, {360, 0.4}};
    const auto plan = decide(question);
    ASSERT_TRUE(plan) << plan.error().text();
    ASSERT_EQ(plan->chosen_candidate().members.size(), 2U);
    EXPECT_EQ(plan->chosen_candidate().members[1].batch_rows, 360);
}

/// A tree is a chain of small exchanges, for which a network's one all-reduce beside its backward pass is no measure.
TEST(Planner, knows_that_many_exchanges_wait_for_the_link) {
    Question question{.batch = 100'000, .steps = 100};
    for (const char* name : {"a", "b"}) {
        Candidate function = worked(name, 1e6, 1e9, 200'000);
        function.cpu_cores = 4;
        function.calibration.latency_seconds = 0.004;
        question.candidates.push_back(std::move(function));
    }
    const auto network = decide(question);
    ASSERT_TRUE(network) << network.error().text();
    EXPECT_EQ(network->chosen_candidate().strategy, Strategy::data_parallel);
    question.exchanges = 60;
    const auto trees = decide(question);
    ASSERT_TRUE(trees) << trees.error().text();
    EXPECT_EQ(trees->chosen_candidate().strategy, Strategy::one_function);
    EXPECT_NEAR(trees->candidates.back().step_seconds, 0.05 + 60 * 0.004 + 200'000 / 1e9, 0.001);
}

TEST(Planner, distributes_when_one_function_would_be_late) {
    Question question{
        .candidates = {worked("A", 1000, 1e9, 1000), worked("B", 100, 1e9, 1000)}, .batch = 512, .steps = 100};
    question.expected_seconds = 50.0;
    const auto plan = decide(question);
    EXPECT_EQ(plan->chosen_candidate().strategy, Strategy::data_parallel);
    EXPECT_NE(plan->why.find("late"), std::string::npos);
}

TEST(Planner, distributes_when_memory_allows_no_single_function) {
    Question question{
        .candidates = {worked("A", 1000, 1e9, 1000), worked("B", 1000, 1e9, 1000)}, .batch = 512, .steps = 100};
    for (Candidate& candidate : question.candidates) {
        candidate.calibration.memory = {{128, 100'000'000}, {512, 400'000'000}};
        candidate.memory_bytes = 300'000'000;
    }
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan->why, "the job fits no single function's memory");
    for (const PlanMember& member : plan->chosen_candidate().members) {
        EXPECT_LE(member.peak_memory_bytes, 300'000'000);
    }
    question.candidates[0].memory_bytes = question.candidates[1].memory_bytes = 120'000'000;
    EXPECT_NE(decide(question).error().message.find("best available function"), std::string::npos);
}

TEST(Planner, names_the_slow_function_that_equal_shares_would_wait_for) {
    const std::string slow = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
    const Question question{
        .candidates = {worked("A", 1000, 1e9, 1000), worked(slow, 500, 1e9, 1000)}, .batch = 512, .steps = 100};
    const auto plan = decide(question);
    EXPECT_NE(plan->why.find("for gnb-1 (measured 0.67x"), std::string::npos) << plan->why;
    ASSERT_EQ(plan->candidates.size(), 3U);
    EXPECT_NEAR(plan->chosen_candidate().members[0].share, 2.0 / 3.0, 0.01);
}

TEST(Planner, decides_for_many_functions_quickly) {
    Question question{.batch = 4096, .steps = 100};
    for (int i = 0; i < 300; ++i) {
        question.candidates.push_back(worked("f" + std::to_string(i), 100.0 + i, 1e9, 1000));
    }
    const auto plan = decide(question);
    ASSERT_TRUE(plan.ok());
    EXPECT_GT(plan->chosen_candidate().members.size(), 100U);
}

} // namespace
} // namespace muster::planner
