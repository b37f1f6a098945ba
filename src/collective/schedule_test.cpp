/// Runs the plans of all ranks against each other in memory.
#include "collective/schedule.h"

#include <gtest/gtest.h>

#include <deque>
#include <numeric>
#include <random>

namespace muster::collective {
namespace {

using Buffers = std::vector<std::vector<unsigned>>;

/// Carries segments along the ring until nothing moves; "bytes" are elements here. Returns false when ranks are stuck.
bool simulate(const std::vector<RingPlan>& plans, Buffers& buffers) {
    const auto size = plans.size();
    std::vector<std::size_t> sent(size);
    std::vector<std::size_t> received(size);
    std::vector<std::deque<std::vector<unsigned>>> edges(size);
    bool moving = true;
    while (moving) {
        moving = false;
        for (std::size_t rank = 0; rank < size; ++rank) {
            const auto& plan = plans[rank];
            auto& buffer = buffers[rank];
            if (sent[rank] < plan.sends.size() && plan.sends[sent[rank]].needs <= received[rank]) {
                const auto& segment = plan.sends[sent[rank]++];
                const auto first = buffer.begin() + static_cast<std::ptrdiff_t>(segment.offset);
                edges[(rank + 1) % size].emplace_back(first, first + static_cast<std::ptrdiff_t>(segment.bytes));
                moving = true;
            }
            if (!edges[rank].empty()) {
                const auto incoming = edges[rank].front();
                edges[rank].pop_front();
                const auto& segment = plan.receives.at(received[rank]++);
                EXPECT_EQ(segment.bytes, incoming.size());
                for (std::size_t i = 0; i < incoming.size(); ++i) {
                    auto& value = buffer[segment.offset + i];
                    value = segment.reduces ? value + incoming[i] : incoming[i];
                }
                moving = true;
            }
        }
    }
    for (std::size_t rank = 0; rank < size; ++rank) {
        if (sent[rank] != plans[rank].sends.size() || received[rank] != plans[rank].receives.size()) {
            return false;
        }
    }
    return true;
}

TEST(Schedule, splits_into_even_blocks) {
    const auto blocks = even_blocks(10, 4, 4);
    ASSERT_EQ(blocks.size(), 4U);
    EXPECT_EQ(blocks[0].bytes, 12U);
    EXPECT_EQ(blocks[3].bytes, 8U);
    EXPECT_EQ(blocks[3].offset, 32U);
}

TEST(Schedule, reduces_everything_everywhere) {
    for (const int size : {2, 3, 4, 7}) {
        for (const std::size_t elements : {0U, 1U, 5U, 64U, 1001U}) {
            for (const std::size_t segment : {1U, 16U, 5000U}) {
                const auto blocks = even_blocks(elements, 1, size);
                std::vector<RingPlan> plans;
                Buffers buffers;
                std::vector<unsigned> expected(elements);
                for (int rank = 0; rank < size; ++rank) {
                    plans.push_back(ring_all_reduce(blocks, rank, segment));
                    auto& buffer = buffers.emplace_back(elements);
                    std::iota(buffer.begin(), buffer.end(), static_cast<unsigned>(1000 * rank));
                    for (std::size_t i = 0; i < elements; ++i) {
                        expected[i] += buffer[i];
                    }
                }
                ASSERT_TRUE(simulate(plans, buffers));
                for (const auto& buffer : buffers) {
                    ASSERT_EQ(buffer, expected) << size << " ranks, segments of " << segment;
                }
            }
        }
    }
}

TEST(Schedule, gathers_blocks_of_any_length) {
    std::mt19937 random{5};
    for (int round = 0; round < 50; ++round) {
        const int size = 2 + static_cast<int>(random() % 6);
        std::vector<std::size_t> lengths;
        std::vector<unsigned> expected;
        for (int rank = 0; rank < size; ++rank) {
            lengths.push_back(random() % 3 == 0 ? 0 : random() % 100);
            expected.resize(expected.size() + lengths.back(), static_cast<unsigned>(rank));
        }
        std::vector<RingPlan> plans;
        Buffers buffers;
        for (int rank = 0; rank < size; ++rank) {
            plans.push_back(ring_all_gather(blocks_of(lengths), rank, 13));
            auto& buffer = buffers.emplace_back(expected);
            for (auto& value : buffer) {
                value = value == static_cast<unsigned>(rank) ? value : 99;
            }
        }
        ASSERT_TRUE(simulate(plans, buffers));
        for (const auto& buffer : buffers) {
            ASSERT_EQ(buffer, expected);
        }
    }
}

TEST(Schedule, broadcasts_from_any_root) {
    for (int root = 0; root < 5; ++root) {
        std::vector<RingPlan> plans;
        Buffers buffers;
        for (int rank = 0; rank < 5; ++rank) {
            plans.push_back(ring_broadcast(1000, 5, rank, root, 64));
            buffers.emplace_back(1000, static_cast<unsigned>(rank));
        }
        ASSERT_TRUE(simulate(plans, buffers));
        for (const auto& buffer : buffers) {
            ASSERT_EQ(buffer, std::vector<unsigned>(1000, static_cast<unsigned>(root)));
        }
    }
}

} // namespace
} // namespace muster::collective
