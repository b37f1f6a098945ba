#include "base/testing_text.h"
#include "planner/stages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <random>

namespace muster::planner {
namespace {

constexpr std::int64_t mb = 1'000'000;

ChainBlock block(double seconds, std::int64_t state_mb = 0, std::int64_t activation_mb = 0, std::int64_t input_mb = 0) {
    return {.name = "b",
            .seconds = seconds,
            .state_bytes = state_mb * mb,
            .activation_bytes = activation_mb * mb,
            .input_bytes = input_mb * mb};
}

std::vector<std::size_t> ends_of(const Cut& cut) {
    std::vector<std::size_t> ends;
    std::ranges::transform(cut.stages, std::back_inserter(ends), &Stage::end);
    return ends;
}

TEST(Cut, gives_equal_functions_equal_time) {
    const std::vector<ChainBlock> blocks(6, block(1.0));
    const auto found = cut(blocks, std::vector<StageFunction>(3), 10).value();
    EXPECT_EQ(ends_of(found), (std::vector<std::size_t>{2, 4, 6}));
    EXPECT_DOUBLE_EQ(found.step_seconds, 3 * 2.0 + 9 * 2.0);
}

TEST(Cut, gives_a_function_of_half_the_speed_half_the_blocks) {
    const std::vector<ChainBlock> blocks(6, block(1.0));
    const std::vector<StageFunction> functions{{.speed = 1.0}, {.speed = 0.5}};
    const auto found = cut_in_order(blocks, functions, 8).value();
    EXPECT_EQ(ends_of(found), (std::vector<std::size_t>{4, 6}));
    EXPECT_DOUBLE_EQ(found.stages[1].seconds, 4.0);
}

TEST(Cut, leaves_out_a_function_that_would_only_slow_it_down) {
    const std::vector<ChainBlock> blocks(4, block(1.0));
    const std::vector<StageFunction> functions{{.speed = 1.0}, {.speed = 0.01}, {.speed = 1.0}};
    const auto found = cut(blocks, functions, 8).value();
    ASSERT_EQ(found.stages.size(), 2U);
    EXPECT_NE(found.stages[0].function, 1U);
    EXPECT_NE(found.stages[1].function, 1U);
}

TEST(Cut, uses_one_stage_when_a_link_costs_more_than_it_saves) {
    const std::vector<ChainBlock> blocks(2, block(1.0, 0, 0, 1000));
    const std::vector<StageFunction> slow_links(2, {.bytes_per_second = 1e8});
    EXPECT_EQ(cut(blocks, slow_links, 8)->stages.size(), 1U);
    const std::vector<StageFunction> fast_links(2, {.bytes_per_second = 1e11});
    EXPECT_EQ(cut(blocks, fast_links, 8)->stages.size(), 2U);
}

TEST(Cut, counts_the_micro_batches_that_a_stage_holds) {
    const std::vector<ChainBlock> blocks(2, block(1.0, 100, 10, 1));
    // The first of two stages holds two micro-batches, however many there are; a single one holds one.
    const std::vector<StageFunction> functions(2, {.memory_bytes = 120 * mb});
    const auto found = cut(blocks, functions, 8).value();
    EXPECT_EQ(found.stages[0].memory_bytes, 120 * mb);
    EXPECT_EQ(found.stages[1].memory_bytes, 110 * mb);
    EXPECT_FALSE(found.stages[0].recompute);
    EXPECT_EQ(cut(blocks, functions, 1)->stages[0].memory_bytes, 110 * mb);
}

TEST(Cut, recomputes_where_memory_asks_for_it_and_only_there) {
    const std::vector<ChainBlock> blocks(2, block(3.0, 100, 10, 1));
    const std::vector<StageFunction> functions(2, {.memory_bytes = 115 * mb});
    const auto found = cut(blocks, functions, 8).value();
    EXPECT_TRUE(found.stages[0].recompute);
    EXPECT_EQ(found.stages[0].memory_bytes, (100 + 10 + 2) * mb);
    EXPECT_DOUBLE_EQ(found.stages[0].seconds, 4.0);
    EXPECT_FALSE(found.stages[1].recompute);
    EXPECT_DOUBLE_EQ(found.stages[1].seconds, 3.0);
}

TEST(Cut, puts_the_large_memory_where_the_many_micro_batches_are) {
    const std::vector<ChainBlock> blocks(2, block(1.0, 10, 50, 60));
    const std::vector<StageFunction> functions{{.memory_bytes = 60 * mb}, {.memory_bytes = 110 * mb}};
    EXPECT_FALSE(cut_in_order(blocks, functions, 8));
    EXPECT_EQ(cut(blocks, functions, 8)->stages[0].function, 1U);
}

TEST(Cut, names_the_block_that_no_function_can_hold) {
    std::vector<ChainBlock> blocks(3, block(1.0, 10, 1, 1));
    blocks[1] = block(1.0, 500, 20, 1);
    blocks[1].name = "layers.1";
    const std::vector<StageFunction> functions{{.memory_bytes = 100 * mb, .base_bytes = 50 * mb},
                                               {.memory_bytes = 200 * mb, .base_bytes = 50 * mb}};
    const auto refused = cut(blocks, functions, 4);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_EQ(refused.error().message,
              "block \"layers.1\" fits no function: alone it needs 570 MB, the nearest one offers 200 MB");
}

TEST(Cut, says_when_the_functions_together_are_too_small) {
    const std::vector<ChainBlock> blocks(4, block(1.0, 90));
    const std::vector<StageFunction> functions(3, {.memory_bytes = 100 * mb});
    EXPECT_TRUE(has(cut(blocks, functions, 4).error().message, "no cut of the 4 blocks fits 3 functions"));
}

TEST(Cut, refuses_what_makes_no_sense) {
    const std::vector<ChainBlock> blocks(1, block(1.0));
    const std::vector<StageFunction> functions(1);
    EXPECT_EQ(cut({}, functions, 1).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(cut(blocks, {}, 1).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(cut(blocks, functions, 0).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(cut(blocks, std::vector<StageFunction>{{.speed = 0.0}}, 1).error().code, ErrorCode::invalid_argument);
}

/// Every way to cut, with formulas of its own.
class BruteForce {
public:
    BruteForce(std::vector<ChainBlock> blocks, std::vector<StageFunction> functions, int micro_batches)
        : blocks_{std::move(blocks)}, functions_{std::move(functions)}, micro_batches_{micro_batches} {}

    /// The slowest stage of the best cut into `stages` stages; infinite without any.
    double slowest(std::size_t stages) { return search(0, 0, stages); }

private:
    double search(std::size_t function, std::size_t begin, std::size_t stages) {
        if (begin == blocks_.size()) {
            return stages == 0 ? 0.0 : infinity;
        }
        if (function == functions_.size() || stages == 0) {
            return infinity;
        }
        double best = search(function + 1, begin, stages);
        for (std::size_t end = begin + 1; end <= blocks_.size(); ++end) {
            best = std::min(best,
                            std::max(seconds(function, begin, end, stages - 1), search(function + 1, end, stages - 1)));
        }
        return best;
    }

    double seconds(std::size_t function, std::size_t begin, std::size_t end, std::size_t after) const {
        const auto& on = functions_[function];
        const auto held = std::min<std::int64_t>(micro_batches_, static_cast<std::int64_t>(after) + 1);
        double compute = 0.0;
        std::int64_t state = on.base_bytes;
        std::int64_t activation = 0;
        for (std::size_t i = begin; i < end; ++i) {
            compute += blocks_[i].seconds / on.speed;
            state += blocks_[i].state_bytes;
            activation += blocks_[i].activation_bytes;
        }
        const double link =
            end == blocks_.size() ? 0.0 : 2.0 * static_cast<double>(blocks_[end].input_bytes) / on.bytes_per_second;
        if (state + held * activation <= on.memory_bytes) {
            return compute + link;
        }
        return state + activation + held * blocks_[begin].input_bytes <= on.memory_bytes ? compute * 4 / 3 + link
                                                                                         : infinity;
    }

    static constexpr double infinity = std::numeric_limits<double>::infinity();
    std::vector<ChainBlock> blocks_;
    std::vector<StageFunction> functions_;
    int micro_batches_;
};

TEST(Cut, is_as_good_as_every_other_cut_of_200_random_chains) {
    std::mt19937 random{7};
    const auto any = [&](int low, int high) { return std::uniform_int_distribution{low, high}(random); };
    int possible = 0;
    for (int instance = 0; instance < 200; ++instance) {
        std::vector<ChainBlock> blocks;
        for (int i = any(1, 7); i > 0; --i) {
            blocks.push_back(block(any(1, 20), any(1, 50), any(1, 20), any(0, 5)));
        }
        std::vector<StageFunction> functions;
        for (int i = any(1, 4); i > 0; --i) {
            functions.push_back({.speed = any(1, 8) / 4.0,
                                 .memory_bytes = any(30, 250) * mb,
                                 .base_bytes = any(0, 10) * mb,
                                 .bytes_per_second = any(1, 50) * 1e6});
        }
        const int micro_batches = any(1, 6);
        BruteForce brute{blocks, functions, micro_batches};
        const auto found = cut_in_order(blocks, functions, micro_batches);
        double best = std::numeric_limits<double>::infinity();
        for (std::size_t stages = 1; stages <= functions.size(); ++stages) {
            best = std::min(best, brute.slowest(stages));
        }
        ASSERT_EQ(found.ok(), best < std::numeric_limits<double>::infinity()) << instance;
        if (!found) {
            continue;
        }
        ++possible;
        const double slowest = std::ranges::max_element(found->stages, {}, &Stage::seconds)->seconds;
        EXPECT_NEAR(slowest, brute.slowest(found->stages.size()), 1e-9) << instance;
        std::size_t begin = 0;
        for (const Stage& stage : found->stages) {
            EXPECT_EQ(stage.begin, begin);
            EXPECT_LE(stage.memory_bytes, functions[stage.function].memory_bytes);
            begin = stage.end;
        }
        EXPECT_EQ(begin, blocks.size());
    }
    EXPECT_GT(possible, 100);
}

TEST(Cut, orders_seven_functions_by_exchanges) {
    const std::vector<ChainBlock> blocks(14, block(1.0, 10, 10, 1));
    std::vector<StageFunction> functions;
    for (int i = 0; i < 7; ++i) {
        functions.push_back({.speed = 1.0, .memory_bytes = (40 + 20 * i) * mb});
    }
    const auto found = cut(blocks, functions, 16).value();
    EXPECT_EQ(found.stages.size(), 7U);
    EXPECT_DOUBLE_EQ(found.stages[0].seconds, 2.0);
}

} // namespace
} // namespace muster::planner
