/// The contract of the operations beyond all_reduce, over 1, 2, 3, 4 and 7 ranks, small and large.
#include "collective/element.h"
#include "collective/frame.h"
#include "collective/group_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>

namespace muster::collective {
namespace {

using test::run_ranks;
using Bytes = std::vector<std::byte>;

constexpr std::size_t small = 1024;

void small_limits(GroupSpec& spec) {
    spec.tuning = ring_above(small);
    spec.segment_bytes = 512;
}

/// Element i of rank r.
std::int32_t value_of(int rank, std::size_t i) {
    return static_cast<std::int32_t>((rank + 1) * 1000 + static_cast<int>(i % 997));
}

std::vector<std::int32_t> values_of(int rank, std::size_t count, std::size_t first = 0) {
    std::vector<std::int32_t> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = value_of(rank, first + i);
    }
    return values;
}

std::int32_t sum_of(int size, std::size_t i) {
    std::int32_t sum = 0;
    for (int rank = 0; rank < size; ++rank) {
        sum += value_of(rank, i);
    }
    return sum;
}

template <typename T>
std::span<std::byte> bytes(std::vector<T>& values) {
    return std::as_writable_bytes(std::span{values});
}

/// Block lengths in elements, zeros among them.
std::vector<std::size_t> random_lengths(int size, unsigned seed, std::size_t max) {
    std::mt19937 random{seed};
    std::vector<std::size_t> lengths;
    for (int rank = 0; rank < size; ++rank) {
        lengths.push_back(random() % 4 == 0 ? 0 : random() % max);
    }
    return lengths;
}

std::vector<std::size_t> in_bytes(std::vector<std::size_t> lengths) {
    for (auto& length : lengths) {
        length *= sizeof(std::int32_t);
    }
    return lengths;
}

class Operations : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Operations, testing::Values(1, 2, 3, 4, 7));

TEST_P(Operations, reduce_leaves_the_result_at_the_root_and_the_others_as_they_were) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            for (int root = 0; root < group.size(); ++root) {
                for (const std::size_t count : {0UL, 1UL, 200UL, 300'000UL}) {
                    auto data = values_of(group.rank(), count);
                    group.reduce(bytes(data), ElementType::i32, ReduceOp::sum, root);
                    for (std::size_t i = 0; i < count; ++i) {
                        ASSERT_EQ(data[i], group.rank() == root ? sum_of(group.size(), i) : value_of(group.rank(), i));
                    }
                }
            }
        },
        small_limits);
}

TEST_P(Operations, reduce_scatter_reduces_blocks_of_any_length) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            for (unsigned round = 0; round < 12; ++round) {
                const auto lengths = random_lengths(group.size(), round, round % 3 == 2 ? 200'000 : 300);
                const auto self = static_cast<std::size_t>(group.rank());
                const auto begin = lengths.begin();
                const auto first = std::accumulate(begin, begin + group.rank(), std::size_t{0});
                auto input = values_of(group.rank(), std::accumulate(begin, lengths.end(), std::size_t{0}));
                const auto before = input;
                std::vector<std::int32_t> output(lengths[self]);
                group.reduce_scatter(bytes(input), bytes(output), in_bytes(lengths), ElementType::i32, ReduceOp::sum);
                ASSERT_EQ(input, before);
                for (std::size_t i = 0; i < output.size(); ++i) {
                    ASSERT_EQ(output[i], sum_of(group.size(), first + i)) << "round " << round;
                }
            }
        },
        small_limits);
}

TEST_P(Operations, gather_and_scatter_move_blocks_of_any_length) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            for (unsigned round = 0; round < 12; ++round) {
                const auto lengths = random_lengths(group.size(), round + 50, round % 3 == 2 ? 100'000 : 300);
                const int root = static_cast<int>(round) % group.size();
                const auto self = static_cast<std::size_t>(group.rank());
                std::vector<std::int32_t> all;
                for (int rank = 0; rank < group.size(); ++rank) {
                    const auto block = values_of(rank, lengths[static_cast<std::size_t>(rank)]);
                    all.insert(all.end(), block.begin(), block.end());
                }
                auto own = values_of(group.rank(), lengths[self]);
                std::vector<std::int32_t> gathered(group.rank() == root ? all.size() : 0);
                group.gather(bytes(own), bytes(gathered), in_bytes(lengths), root);
                if (group.rank() == root) {
                    ASSERT_EQ(gathered, all);
                }
                std::vector<std::int32_t> back(lengths[self], -1);
                group.scatter(bytes(gathered), bytes(back), in_bytes(lengths), root);
                ASSERT_EQ(back, own);
            }
        },
        small_limits);
}

TEST_P(Operations, all_to_all_hands_each_rank_its_blocks) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            // Rank a sends rank b a block of length(a, b) with values that name both.
            const auto length = [](int round, int from, int to) {
                return static_cast<std::size_t>((from * 7 + to * 3 + round) % 4 * (round == 3 ? 40'000 : 100));
            };
            const auto block = [&](int round, int from, int to) {
                return std::vector<std::int32_t>(length(round, from, to), 100 * from + to);
            };
            for (int round = 0; round < 6; ++round) {
                std::vector<std::size_t> sends;
                std::vector<std::size_t> receives;
                std::vector<std::int32_t> input;
                std::vector<std::int32_t> expected;
                for (int peer = 0; peer < group.size(); ++peer) {
                    const auto out = block(round, group.rank(), peer);
                    const auto in = block(round, peer, group.rank());
                    sends.push_back(out.size());
                    receives.push_back(in.size());
                    input.insert(input.end(), out.begin(), out.end());
                    expected.insert(expected.end(), in.begin(), in.end());
                }
                std::vector<std::int32_t> output(expected.size());
                group.all_to_all(bytes(input), in_bytes(sends), bytes(output), in_bytes(receives));
                ASSERT_EQ(output, expected);
            }
        },
        small_limits);
}

/// Histograms of a pair of 64-bit numbers: sums the first, keeps the larger second.
const Reducer sum_and_max{16, [](std::span<std::byte> accumulator, std::span<const std::byte> incoming) {
                              for (std::size_t at = 0; at < accumulator.size(); at += 16) {
                                  std::int64_t a[2];
                                  std::int64_t b[2];
                                  std::memcpy(a, accumulator.data() + at, 16);
                                  std::memcpy(b, incoming.data() + at, 16);
                                  a[0] += b[0];
                                  a[1] = std::max(a[1], b[1]);
                                  std::memcpy(accumulator.data() + at, a, 16);
                              }
                          }};

TEST_P(Operations, reduce_with_a_callers_own_function) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            const auto n = static_cast<std::int64_t>(group.size());
            for (const std::size_t count : {1UL, 40UL, 20'000UL}) {
                std::vector<std::int64_t> data;
                for (std::size_t i = 0; i < count; ++i) {
                    data.push_back(group.rank() + 1);
                    data.push_back(group.rank() * 10);
                }
                auto input = data;
                group.all_reduce(bytes(data), sum_and_max);
                for (std::size_t i = 0; i < count; ++i) {
                    ASSERT_EQ(data[2 * i], n * (n + 1) / 2);
                    ASSERT_EQ(data[2 * i + 1], (n - 1) * 10);
                }
                std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()), 0);
                lengths.back() = count * 16;
                std::vector<std::int64_t> output(group.rank() == group.size() - 1 ? 2 * count : 0);
                group.reduce_scatter(bytes(input), bytes(output), lengths, sum_and_max);
                for (std::size_t i = 0; i < output.size() / 2; ++i) {
                    ASSERT_EQ(output[2 * i], n * (n + 1) / 2);
                }
            }
        },
        small_limits);
}

TEST_P(Operations, bitwise_reductions_are_for_integers_only) {
    run_ranks(GetParam(), [](Group& group) {
        std::vector<std::uint8_t> data(3000, static_cast<std::uint8_t>(1U << static_cast<unsigned>(group.rank())));
        group.all_reduce(bytes(data), ElementType::u8, ReduceOp::bit_or);
        EXPECT_EQ(data[2999], (1U << static_cast<unsigned>(group.size())) - 1);
        group.all_reduce(bytes(data), ElementType::u8, ReduceOp::bit_xor);
        EXPECT_EQ(data[0], group.size() % 2 == 0 ? 0 : (1U << static_cast<unsigned>(group.size())) - 1);
        std::vector<float> floats(4);
        EXPECT_THROW(group.all_reduce(bytes(floats), ElementType::f32, ReduceOp::bit_and), std::invalid_argument);
    });
}

TEST_P(Operations, rounded_on_the_wire_all_ranks_hold_the_same_bits_near_the_sum) {
    std::mutex mutex;
    std::vector<std::vector<float>> results;
    run_ranks(GetParam(), [&](Group& group) {
        for (const auto wire : {WireFormat::bf16, WireFormat::f16}) {
            std::vector<float> data(50'001);
            std::iota(data.begin(), data.end(), static_cast<float>(group.rank()));
            for (auto& value : data) {
                value = 1 + value / 100'000;
            }
            group.all_reduce(bytes(data), ElementType::f32, ReduceOp::sum, wire);
            const auto n = static_cast<float>(group.size());
            for (const std::size_t i : {0UL, 25'000UL, 50'000UL}) {
                const float exact = n * (1 + static_cast<float>(i) / 100'000) + n * (n - 1) / 200'000;
                ASSERT_NEAR(data[i], exact, exact * (wire == WireFormat::bf16 ? 0.03F : 0.004F));
            }
            const std::scoped_lock lock{mutex};
            results.push_back(data);
        }
        std::vector<double> doubles(10);
        EXPECT_THROW(group.all_reduce(bytes(doubles), ElementType::f64, ReduceOp::sum, WireFormat::f16),
                     std::invalid_argument);
    });
    std::ranges::sort(results);
    EXPECT_LE(std::ranges::unique(results).begin() - results.begin(), 2);
}

TEST(Rounding, halves_the_bytes_on_the_wire) {
    run_ranks(2, [](Group& group) {
        std::vector<float> data(500'000, 1);
        const auto before = group.traffic().bytes_sent;
        group.all_reduce(bytes(data), ElementType::f32, ReduceOp::sum, WireFormat::bf16);
        const auto sent = group.traffic().bytes_sent - before;
        EXPECT_GT(sent, 990'000);
        EXPECT_LT(sent, 1'030'000);
    });
}

TEST(Stripes, carry_the_same_results_over_several_connections) {
    run_ranks(
        3,
        [](Group& group) {
            for (int round = 0; round < 5; ++round) {
                auto data = values_of(group.rank(), 400'000);
                group.all_reduce(bytes(data), ElementType::i32, ReduceOp::sum);
                for (std::size_t i = 0; i < data.size(); ++i) {
                    ASSERT_EQ(data[i], sum_of(3, i));
                }
                group.broadcast(bytes(data), round % 3);
                group.barrier();
            }
        },
        [](GroupSpec& spec) { spec.stripes = 3; });
}

TEST(Large, messages_beyond_4_gib_keep_their_length) {
    // The header's fields and the plan's offsets, without moving the bytes: lengths are 64 bits wide throughout.
    const FrameHeader header{.call = {.bytes = std::uint64_t{5} << 32U},
                             .message_bytes = std::uint64_t{5} << 32U,
                             .offset = (std::uint64_t{5} << 32U) - 100,
                             .payload_bytes = 100};
    EXPECT_EQ(decode(encode(header), 100).value(), header);
}

TEST(Edges, tell_bytes_cipher_and_expiry_of_every_peer) {
    run_ranks(3, [](Group& group) {
        std::vector<float> data(100'000, 1);
        group.all_reduce(bytes(data), ElementType::f32, ReduceOp::sum);
        const auto edges = group.edges();
        ASSERT_EQ(edges.size(), 2U);
        for (const auto& edge : edges) {
            EXPECT_NE(edge.peer, group.rank());
            EXPECT_EQ(edge.name, fmt::format("gnb-{}", edge.peer));
            EXPECT_EQ(edge.address.substr(0, 10), "127.0.0.1:");
            EXPECT_EQ(edge.cipher.substr(0, 7), "TLSv1.3");
            EXPECT_GT(edge.bytes_sent + edge.bytes_received, 200'000);
            const auto left = edge.certificate_expires - std::chrono::system_clock::now();
            EXPECT_GT(left, std::chrono::minutes{1});
            EXPECT_LE(left, std::chrono::hours{1});
        }
    });
}

} // namespace
} // namespace muster::collective
