/// Sizes that 32 bits cannot count. MUSTER_LARGE=1 runs them: they take 10 GB of memory and a minute.
#include "collective/group_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace muster::collective {
namespace {

using test::run_ranks;
using Bytes = std::vector<std::byte>;

constexpr std::size_t above_2_gib = (std::size_t{2} << 30U) + (std::size_t{200} << 20U) + 3;
constexpr std::size_t above_4_gib = (std::size_t{4} << 30U) + 5;

bool all_are(const Bytes& data, int value) {
    return std::ranges::all_of(data, [=](std::byte byte) { return byte == static_cast<std::byte>(value); });
}

class Above2GiB : public testing::Test {
protected:
    void SetUp() override {
        if (std::getenv("MUSTER_LARGE") == nullptr) {
            GTEST_SKIP() << "set MUSTER_LARGE=1, on a machine with 10 GB to spare";
        }
    }
};

TEST_F(Above2GiB, all_reduce_of_more_than_2_gib) {
    run_ranks(2, [](Group& group) {
        Bytes data(above_2_gib, static_cast<std::byte>(group.rank() + 1));
        group.all_reduce(data, ElementType::u8, ReduceOp::sum);
        EXPECT_TRUE(all_are(data, 3));
    });
}

TEST_F(Above2GiB, broadcast_reduce_scatter_and_transfer_of_more_than_2_gib) {
    run_ranks(2, [](Group& group) {
        Bytes data(above_2_gib, static_cast<std::byte>(group.rank() + 1));
        group.broadcast(data, 1);
        EXPECT_TRUE(all_are(data, 2));
        if (group.rank() == 0) {
            group.send(data, 1, 1)->wait();
        } else {
            std::ranges::fill(data, std::byte{0});
            group.receive(data, 0, 1)->wait();
            EXPECT_TRUE(all_are(data, 2));
        }
        const std::vector<std::size_t> lengths{above_2_gib - 7, 7};
        Bytes own(lengths[static_cast<std::size_t>(group.rank())]);
        group.reduce_scatter(data, own, lengths, ElementType::u8, ReduceOp::sum);
        EXPECT_TRUE(all_are(own, 4));
    });
}

TEST_F(Above2GiB, all_gather_of_more_than_4_gib) {
    run_ranks(2, [](Group& group) {
        const std::vector<std::size_t> lengths{above_4_gib - 9, 9};
        const auto rank = static_cast<std::size_t>(group.rank());
        Bytes all(above_4_gib);
        const auto own = std::span{all}.subspan(rank == 0 ? 0 : lengths[0], lengths[rank]);
        std::ranges::fill(own, static_cast<std::byte>(rank + 1));
        group.all_gather(own, all, lengths);
        EXPECT_EQ(all.front(), std::byte{1});
        EXPECT_EQ(all[lengths[0] - 1], std::byte{1});
        EXPECT_EQ(all[lengths[0]], std::byte{2});
        EXPECT_EQ(all.back(), std::byte{2});
    });
}

} // namespace
} // namespace muster::collective
