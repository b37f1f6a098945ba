#include "planner/replicas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace muster::planner {
namespace {

constexpr std::int64_t mb = 1'000'000;

std::vector<ChainBlock> equal_blocks(std::size_t count) {
    return std::vector<ChainBlock>(
        count, {.name = "b", .seconds = 1.0, .state_bytes = 100 * mb, .activation_bytes = 10 * mb, .input_bytes = mb});
}

std::vector<StageFunction> of_speeds(std::initializer_list<double> speeds) {
    std::vector<StageFunction> functions;
    for (const double speed : speeds) {
        functions.push_back({.speed = speed});
    }
    return functions;
}

double nothing(std::span<const std::size_t> /*functions*/, std::size_t /*begin*/, std::size_t /*end*/) {
    return 0.0;
}

std::vector<std::size_t> functions_of(const Replica& replica) {
    std::vector<std::size_t> functions;
    std::ranges::transform(replica.stages, std::back_inserter(functions), &Stage::function);
    return functions;
}

TEST(Replicas, share_the_rows_of_a_batch) {
    const auto blocks = equal_blocks(4);
    const auto functions = of_speeds({1.0, 1.0, 1.0, 1.0});
    const auto found = cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2);
    ASSERT_TRUE(found);
    for (const Replica& replica : found->replicas) {
        EXPECT_EQ(replica.rows, 16);
        EXPECT_EQ(replica.micro_batches, 4.0);
        ASSERT_EQ(replica.stages.size(), 2U);
        EXPECT_EQ(replica.stages[0].end, 2U);
        // Four micro-batches: 2 s through each stage, then 2 s for each of three more.
        EXPECT_DOUBLE_EQ(replica.seconds, 4.0 + 3 * 2.0);
    }
    EXPECT_DOUBLE_EQ(found->step_seconds, 10.0);
}

TEST(Replicas, of_slow_functions_get_fewer_rows) {
    const auto blocks = equal_blocks(4);
    const auto functions = of_speeds({0.5, 1.0, 1.0, 0.5});
    const auto found = cut_replicated({blocks, functions, 48, 4, nothing}, 2, 2);
    ASSERT_TRUE(found);
    // 2 and 4 s a stage: b rows take 2 + 0.5 b and 4 + b seconds, which 34 and 14 rows bring to 19 and 18. With a fast
    // and a slow function in each replica the cut is 3 and 1 blocks, 3 and 2 s: 24 rows each, 2 + 6 * 3 = 20 s.
    EXPECT_EQ(functions_of(found->replicas[0]), (std::vector<std::size_t>{0, 3}));
    EXPECT_EQ(functions_of(found->replicas[1]), (std::vector<std::size_t>{1, 2}));
    EXPECT_EQ(found->replicas[0].rows, 14);
    EXPECT_EQ(found->replicas[1].rows, 34);
    EXPECT_DOUBLE_EQ(found->step_seconds, 19.0);
}

TEST(Replicas, have_functions_of_like_speed_at_the_same_stage) {
    const auto blocks = equal_blocks(4);
    const auto functions = of_speeds({3.0, 1.0, 3.0, 1.0});
    // Either 3 and 1 blocks in each replica, 1 s a stage; or replicas of unequal speed that cut 2 and 2.
    const auto found = cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2);
    ASSERT_TRUE(found);
    for (const Replica& replica : found->replicas) {
        EXPECT_EQ(replica.rows, 16);
        EXPECT_DOUBLE_EQ(replica.stages[0].seconds, 1.0);
        EXPECT_DOUBLE_EQ(replica.stages[1].seconds, 1.0);
    }
    EXPECT_DOUBLE_EQ(found->step_seconds, 2.0 + 3 * 1.0);
}

TEST(Replicas, begin_where_the_data_is) {
    const auto blocks = equal_blocks(4);
    auto functions = of_speeds({1.0, 1.0, 1.0, 1.0});
    functions[0].may_be_first = functions[2].may_be_first = false;
    const auto found = cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->replicas[0].stages[0].function, 1U);
    EXPECT_EQ(found->replicas[1].stages[0].function, 3U);
    functions[1].may_be_first = false;
    EXPECT_FALSE(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2)) << "one function for two first stages";
}

TEST(Replicas, keep_to_the_memory_of_each_function) {
    const auto blocks = equal_blocks(4);
    auto functions = of_speeds({1.0, 1.0, 1.0, 1.0});
    for (StageFunction& function : functions) {
        function.memory_bytes = 240 * mb; // two blocks with two micro-batches
    }
    ASSERT_TRUE(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2));
    functions[1].memory_bytes = 220 * mb; // with one
    const auto found = cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2);
    ASSERT_TRUE(found);
    EXPECT_TRUE(std::ranges::none_of(found->replicas, [](const Replica& replica) {
        return replica.stages[0].function == 1 || replica.stages[0].recompute || replica.stages[1].recompute;
    })) << "it holds a last stage";
    functions[1].memory_bytes = 100 * mb;
    EXPECT_FALSE(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2));
}

TEST(Replicas, count_the_slowest_sum_of_gradients) {
    const auto blocks = equal_blocks(4);
    const auto functions = of_speeds({1.0, 1.0, 1.0, 1.0});
    const auto sum = [](std::span<const std::size_t> holders, std::size_t begin, std::size_t end) {
        EXPECT_EQ(holders.size(), 2U);
        return 0.25 * static_cast<double>(end - begin) + (begin == 0 ? 0.0 : 0.1);
    };
    EXPECT_DOUBLE_EQ(cut_replicated({blocks, functions, 32, 4, sum}, 2, 2)->step_seconds, 10.0 + 0.6);
}

TEST(Replicas, pay_the_optimizer_once_a_step) {
    auto blocks = equal_blocks(2);
    blocks[0].update_seconds = blocks[1].update_seconds = 0.8;
    const auto functions = of_speeds({1.0, 1.0, 1.0, 1.0});
    // Four micro-batches of 1 + 0.2 s at each stage.
    EXPECT_DOUBLE_EQ(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2)->step_seconds, 2.4 + 3 * 1.2);
}

TEST(Replicas, have_a_row_each) {
    const auto blocks = equal_blocks(4);
    const auto equal = of_speeds({1.0, 1.0, 1.0, 1.0});
    const auto two_rows = cut_replicated({blocks, equal, 2, 4, nothing}, 2, 2);
    ASSERT_TRUE(two_rows);
    EXPECT_EQ(two_rows->replicas[0].rows, 1);
    EXPECT_EQ(two_rows->replicas[0].micro_batches, 1.0) << "a smaller micro-batch counts as one";
    EXPECT_FALSE(cut_replicated({blocks, equal, 1, 4, nothing}, 2, 2));
    // A row takes 28 s where the slow function is, and the other replica does all rows in 18.
    const auto unequal = of_speeds({1.0, 1.0, 1.0, 0.01});
    EXPECT_FALSE(cut_replicated({blocks, unequal, 32, 4, nothing}, 2, 2));
}

TEST(Replicas, need_functions_and_blocks) {
    const auto blocks = equal_blocks(3);
    const auto functions = of_speeds({1.0, 1.0, 1.0, 1.0, 1.0});
    EXPECT_FALSE(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 3));
    EXPECT_FALSE(cut_replicated({blocks, functions, 32, 4, nothing}, 1, 4));
    EXPECT_TRUE(cut_replicated({blocks, functions, 32, 4, nothing}, 2, 2));
}

/// Every arrangement and every cut into two stages for two replicas, with formulas of its own and rows in real numbers.
double least_of_two_by_two(const ReplicaTask& task) {
    double least = std::numeric_limits<double>::infinity();
    std::vector<std::size_t> order(task.functions.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    do {
        for (std::size_t cut = 1; cut < task.blocks.size(); ++cut) {
            double first[2]{};
            double slow[2]{};
            bool fits = true;
            for (std::size_t r = 0; r < 2; ++r) {
                double seconds[2]{};
                std::int64_t memory[2]{};
                for (std::size_t i = 0; i < task.blocks.size(); ++i) {
                    const std::size_t stage = i < cut ? 0 : 1;
                    seconds[stage] += task.blocks[i].seconds / task.functions[order[2 * r + stage]].speed;
                    memory[stage] +=
                        task.blocks[i].state_bytes + (stage == 0 ? 2 : 1) * task.blocks[i].activation_bytes;
                }
                for (std::size_t stage : {0, 1}) {
                    const auto& function = task.functions[order[2 * r + stage]];
                    fits = fits && memory[stage] <= function.memory_bytes && (stage == 1 || function.may_be_first);
                }
                first[r] = seconds[0] + seconds[1] - std::max(seconds[0], seconds[1]);
                slow[r] = std::max(seconds[0], seconds[1]) / static_cast<double>(task.micro_rows);
            }
            // first_0 + slow_0 b = first_1 + slow_1 (batch - b)
            const auto batch = static_cast<double>(task.batch);
            const double rows = (first[1] - first[0] + slow[1] * batch) / (slow[0] + slow[1]);
            if (fits && rows >= 1.0 && rows <= batch - 1.0) {
                least = std::min(least, first[0] + slow[0] * rows);
            }
        }
    } while (std::ranges::next_permutation(order).found);
    return least;
}

TEST(Replicas, are_nearly_as_fast_as_the_best_of_all_arrangements) {
    std::mt19937 random{5};
    const auto any = [&](int low, int high) { return std::uniform_int_distribution{low, high}(random); };
    int possible = 0;
    int best = 0;
    for (int instance = 0; instance < 200; ++instance) {
        std::vector<ChainBlock> blocks;
        for (int i = any(2, 9); i > 0; --i) {
            blocks.push_back({.name = "b",
                              .seconds = any(1, 20) / 10.0,
                              .state_bytes = any(1, 50) * mb,
                              .activation_bytes = any(1, 20) * mb,
                              .input_bytes = 200 * mb}); // recomputing saves nothing
        }
        std::vector<StageFunction> functions;
        for (int i = any(4, 7); i > 0; --i) {
            functions.push_back(
                {.speed = any(2, 8) / 4.0, .memory_bytes = any(100, 400) * mb, .may_be_first = any(0, 3) > 0});
        }
        const ReplicaTask task{blocks, functions, 64, 2, nothing};
        const double least = least_of_two_by_two(task);
        const auto found = cut_replicated(task, 2, 2);
        ASSERT_EQ(found.has_value(), least < std::numeric_limits<double>::infinity()) << instance;
        if (found) {
            ++possible;
            best += found->step_seconds <= 1.02 * least ? 1 : 0;
            EXPECT_GE(found->step_seconds, least * (1.0 - 1e-9)) << instance;
            EXPECT_LE(found->step_seconds, 1.25 * least) << instance;
        }
    }
    EXPECT_GT(possible, 100);
    EXPECT_GT(best, possible * 9 / 10);
}

} // namespace
} // namespace muster::planner
