/// The contract of Group over 1, 2, 3, 4 and 7 ranks, against a naive reference.
#include "collective/element.h"
#include "collective/group_fixture.h"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <random>

namespace muster::collective {
namespace {

using test::run_ranks;
using Bytes = std::vector<std::byte>;

constexpr ElementType all_types[] = {ElementType::f32,
                                     ElementType::f64,
                                     ElementType::f16,
                                     ElementType::bf16,
                                     ElementType::i8,
                                     ElementType::u8,
                                     ElementType::i16,
                                     ElementType::i32,
                                     ElementType::i64};
constexpr ReduceOp all_ops[] = {ReduceOp::sum, ReduceOp::product, ReduceOp::min, ReduceOp::max};
constexpr std::size_t small = 1024;
constexpr std::size_t segment = 512;

void small_limits(GroupSpec& spec) {
    spec.tuning = ring_above(small);
    spec.segment_bytes = segment;
}

template <typename T>
void put(Bytes& bytes, T value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof value);
}

/// Values of rank `rank`: small integers, so that every order of additions gives the same result.
Bytes input_of(int rank, ElementType type, std::size_t count) {
    std::mt19937 random{static_cast<unsigned>(rank * 1000 + static_cast<int>(type))};
    Bytes bytes;
    for (std::size_t i = 0; i < count; ++i) {
        const int value = static_cast<int>(random() % 5) - 2;
        const float number = static_cast<float>(value);
        switch (type) {
        case ElementType::f32:
            put(bytes, number);
            break;
        case ElementType::f64:
            put(bytes, static_cast<double>(value));
            break;
        case ElementType::f16:
        case ElementType::bf16: {
            Bytes half(2);
            narrow(std::as_bytes(std::span{&number, 1}), type, half);
            bytes.insert(bytes.end(), half.begin(), half.end());
            break;
        }
        case ElementType::i8:
        case ElementType::u8:
            put(bytes, static_cast<std::int8_t>(value));
            break;
        case ElementType::i16:
            put(bytes, static_cast<std::int16_t>(value));
            break;
        case ElementType::i32:
            put(bytes, static_cast<std::int32_t>(value));
            break;
        case ElementType::i64:
            put(bytes, static_cast<std::int64_t>(value));
            break;
        }
    }
    return bytes;
}

Bytes reduced(int size, ElementType type, ReduceOp op, std::size_t count) {
    const auto wide = [type](Bytes bytes) {
        if (!is_half(type)) {
            return bytes;
        }
        Bytes floats(2 * bytes.size());
        widen(bytes, type, floats);
        return floats;
    };
    Bytes result = wide(input_of(0, type, count));
    for (int rank = 1; rank < size; ++rank) {
        reduce_into(result, wide(input_of(rank, type, count)), is_half(type) ? ElementType::f32 : type, op);
    }
    if (!is_half(type)) {
        return result;
    }
    Bytes halves(result.size() / 2);
    narrow(result, type, halves);
    return halves;
}

class GroupOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, GroupOf, testing::Values(1, 2, 3, 4, 7));

TEST_P(GroupOf, reduces_every_type_with_every_operation_around_the_thresholds) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            for (const auto type : all_types) {
                const auto width = size_of(type);
                for (const auto op : all_ops) {
                    for (const std::size_t count :
                         {std::size_t{0}, std::size_t{1}, small / width, small / width + 1, 5 * segment / width + 3}) {
                        auto data = input_of(group.rank(), type, count);
                        group.all_reduce(data, type, op);
                        ASSERT_EQ(data, reduced(group.size(), type, op, count))
                            << name_of(op) << " of " << count << " " << name_of(type);
                    }
                }
            }
        },
        small_limits);
}

TEST_P(GroupOf, gives_all_ranks_the_same_bits) {
    std::mutex mutex;
    std::vector<Bytes> results;
    run_ranks(
        GetParam(),
        [&](Group& group) {
            Bytes all;
            for (const auto type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
                for (const std::size_t count : {std::size_t{100}, std::size_t{5000}}) {
                    std::mt19937 random{static_cast<unsigned>(group.rank() + 1)};
                    std::normal_distribution<float> normal;
                    Bytes data;
                    for (std::size_t i = 0; i < count; ++i) {
                        put(data, normal(random));
                    }
                    if (is_half(type)) {
                        Bytes halves(data.size() / 2);
                        narrow(data, type, halves);
                        data = halves;
                    }
                    group.all_reduce(data, type, ReduceOp::sum);
                    all.insert(all.end(), data.begin(), data.end());
                }
            }
            const std::scoped_lock lock{mutex};
            results.push_back(std::move(all));
        },
        small_limits);
    for (const auto& result : results) {
        EXPECT_EQ(result, results.front());
    }
}

TEST_P(GroupOf, broadcasts_from_every_root) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            for (int root = 0; root < group.size(); ++root) {
                for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, small, small + 1, 10 * segment + 7}) {
                    Bytes data(bytes, static_cast<std::byte>(group.rank()));
                    group.broadcast(data, root);
                    ASSERT_EQ(data, Bytes(bytes, static_cast<std::byte>(root)));
                }
            }
        },
        small_limits);
}

TEST_P(GroupOf, gathers_blocks_of_random_lengths_zero_included) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            std::mt19937 random{17};
            for (int round = 0; round < 25; ++round) {
                std::vector<std::size_t> lengths;
                Bytes expected;
                for (int rank = 0; rank < group.size(); ++rank) {
                    const std::size_t limit = random() % 3 == 0 ? 1 : (round % 2 == 0 ? small : 4 * small);
                    lengths.push_back(random() % limit);
                    expected.resize(expected.size() + lengths.back(), static_cast<std::byte>(rank + round));
                }
                const Bytes own(lengths[static_cast<std::size_t>(group.rank())],
                                static_cast<std::byte>(group.rank() + round));
                Bytes output(expected.size());
                group.all_gather(own, output, lengths);
                ASSERT_EQ(output, expected) << "round " << round;
            }
        },
        small_limits);
}

TEST_P(GroupOf, waits_for_everybody_at_a_barrier) {
    std::atomic<int> arrived{0};
    run_ranks(GetParam(), [&](Group& group) {
        for (int round = 1; round <= 20; ++round) {
            ++arrived;
            group.barrier();
            ASSERT_GE(arrived.load(), round * group.size());
            group.barrier();
        }
    });
}

TEST_P(GroupOf, mixes_operations_in_the_same_random_order) {
    run_ranks(
        GetParam(),
        [](Group& group) {
            std::mt19937 random{99};
            for (int i = 0; i < 60; ++i) {
                const std::size_t count = random() % 2000;
                const auto kind = random() % 4;
                const int root = static_cast<int>(random() % static_cast<unsigned>(group.size()));
                auto data = input_of(group.rank(), ElementType::i32, count);
                if (kind == 0) {
                    group.barrier();
                } else if (kind == 1) {
                    group.broadcast(data, root);
                    ASSERT_EQ(data, input_of(root, ElementType::i32, count));
                } else {
                    group.all_reduce(data, ElementType::i32, ReduceOp::sum);
                    ASSERT_EQ(data, reduced(group.size(), ElementType::i32, ReduceOp::sum, count));
                }
            }
        },
        small_limits);
}

TEST_P(GroupOf, refuses_arguments_that_cannot_be_meant_and_goes_on) {
    run_ranks(GetParam(), [](Group& group) {
        Bytes data(6);
        const std::vector<std::size_t> lengths(static_cast<std::size_t>(group.size()) + 1, 1);
        EXPECT_THROW(group.all_reduce(data, ElementType::f32, ReduceOp::sum), std::invalid_argument);
        EXPECT_THROW(group.broadcast(data, group.size()), std::invalid_argument);
        EXPECT_THROW(group.broadcast(data, -1), std::invalid_argument);
        EXPECT_THROW(group.all_gather({}, data, lengths), std::invalid_argument);
        group.barrier();
    });
}

TEST(Group, moves_megabytes_at_the_default_settings) {
    run_ranks(3, [](Group& group) {
        auto data = input_of(group.rank(), ElementType::f32, 200'001);
        group.all_reduce(data, ElementType::f32, ReduceOp::sum);
        ASSERT_EQ(data, reduced(3, ElementType::f32, ReduceOp::sum, 200'001));
        const auto traffic = group.traffic();
        EXPECT_GT(traffic.bytes_sent, 1'060'000);
        EXPECT_LT(traffic.bytes_sent, 1'250'000);
        EXPECT_GT(traffic.bytes_received, 1'060'000);
        EXPECT_GE(traffic.wait_seconds, 0.0);
        EXPECT_EQ(traffic.cipher.substr(0, 8), "TLSv1.3 ");
    });
}

TEST(Group, sums_halves_in_f32_with_one_rounding) {
    for (const std::size_t count : {std::size_t{8}, std::size_t{20'000}}) {
        run_ranks(4, [count](Group& group) {
            // In f16 2048 + 1 is 2048; in f32 the three ones count.
            const float own = group.rank() == 0 ? 2048.0F : 1.0F;
            const std::vector<float> floats(count, own);
            Bytes data(2 * count);
            narrow(std::as_bytes(std::span{floats}), ElementType::f16, data);
            group.all_reduce(data, ElementType::f16, ReduceOp::sum);
            std::vector<float> result(count);
            widen(data, ElementType::f16, std::as_writable_bytes(std::span{result}));
            EXPECT_EQ(result, std::vector<float>(count, 2052.0F)); // 2051 lies between 2050 and 2052, even wins
        });
    }
}

} // namespace
} // namespace muster::collective
