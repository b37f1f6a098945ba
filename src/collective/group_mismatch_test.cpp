/// Ranks that call different things: whatever they call, all learn soon who called what.
#include "collective/plain_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

namespace muster::collective {
namespace {

using test::in_threads;
using test::plain_groups;
using Bytes = std::vector<std::byte>;
using Lengths = std::vector<std::size_t>;

constexpr int size = 3;
/// A tenth of the operations' deadline; what is left of the time is a crowded machine's.
constexpr auto soon = std::chrono::seconds{5};
constexpr std::size_t small = 600;
constexpr std::size_t large = 600'000;

struct Operation {
    std::string name;
    std::function<void(Group&)> run;
};

std::size_t own(Group& group) {
    return static_cast<std::size_t>(group.rank());
}

Operation all_reduce(std::size_t bytes, ElementType type = ElementType::f32, ReduceOp op = ReduceOp::sum) {
    return {"all_reduce", [=](Group& group) {
                Bytes data(bytes);
                group.all_reduce(data, type, op);
            }};
}
Operation own_reduction(std::size_t bytes, std::size_t element_bytes) {
    return {"all_reduce", [=](Group& group) {
                Bytes data(bytes);
                group.all_reduce(data, Reducer{element_bytes, [](auto, auto) {}});
            }};
}
Operation rounded(WireFormat wire) {
    return {"all_reduce", [=](Group& group) {
                Bytes data(large);
                group.all_reduce(data, ElementType::f32, ReduceOp::sum, wire);
            }};
}
Operation reduce(std::size_t bytes, int root = 0, ElementType type = ElementType::f32, ReduceOp op = ReduceOp::sum) {
    return {"reduce", [=](Group& group) {
                Bytes data(bytes);
                group.reduce(data, type, op, root);
            }};
}
Operation reduce_scatter(const Lengths& lengths, ElementType type = ElementType::f32, ReduceOp op = ReduceOp::sum) {
    return {"reduce_scatter", [=](Group& group) {
                const Bytes input(lengths[0] + lengths[1] + lengths[2]);
                Bytes output(lengths[own(group)]);
                group.reduce_scatter(input, output, lengths, type, op);
            }};
}
Operation broadcast(std::size_t bytes, int root = 0) {
    return {"broadcast", [=](Group& group) {
                Bytes data(bytes);
                group.broadcast(data, root);
            }};
}
Operation all_gather(const Lengths& lengths) {
    return {"all_gather", [=](Group& group) {
                const Bytes input(lengths[own(group)]);
                Bytes output(lengths[0] + lengths[1] + lengths[2]);
                group.all_gather(input, output, lengths);
            }};
}
Operation gather(const Lengths& lengths, int root = 0) {
    return {"gather", [=](Group& group) {
                const Bytes input(lengths[own(group)]);
                Bytes output(group.rank() == root ? lengths[0] + lengths[1] + lengths[2] : 0);
                group.gather(input, output, lengths, root);
            }};
}
Operation scatter(const Lengths& lengths, int root = 0) {
    return {"scatter", [=](Group& group) {
                const Bytes input(group.rank() == root ? lengths[0] + lengths[1] + lengths[2] : 0);
                Bytes output(lengths[own(group)]);
                group.scatter(input, output, lengths, root);
            }};
}
Operation all_to_all(std::size_t each) {
    return {"all_to_all", [=](Group& group) {
                const Lengths lengths(static_cast<std::size_t>(size), each);
                const Bytes input(size * each);
                Bytes output(size * each);
                group.all_to_all(input, lengths, output, lengths);
            }};
}
Operation barrier() {
    return {"barrier", [](Group& group) { group.barrier(); }};
}

std::vector<Operation> all_operations(std::size_t bytes) {
    const Lengths lengths(static_cast<std::size_t>(size), bytes / size / 4 * 4);
    return {all_reduce(bytes),
            reduce(bytes, 1),
            reduce_scatter(lengths),
            broadcast(bytes, 1),
            all_gather(lengths),
            gather(lengths, 1),
            scatter(lengths, 1),
            all_to_all(lengths[0]),
            barrier()};
}

/// One rank calls `odd`, the others `others`, and then all a barrier. Returns what is wrong with how they learn of it.
std::string clash(int odd_rank, const Operation& odd, const Operation& others) {
    const auto groups = plain_groups(size);
    std::mutex mutex;
    std::string wrong;
    in_threads(size, [&](int rank) {
        auto& group = *groups[static_cast<std::size_t>(rank)];
        const auto begin = std::chrono::steady_clock::now();
        std::string text = "nothing";
        try {
            (rank == odd_rank ? odd : others).run(group);
            group.barrier();
            group.barrier();
        } catch (const GroupFailed& failure) {
            text = failure.what();
        }
        const bool named = text.find("rank 0") != std::string::npos || text.find("rank 1") != std::string::npos;
        const bool both =
            text.find("ranks call different collectives: ") == 0 || text.find(" expects ") != std::string::npos;
        const bool calls = text.find(odd.name) != std::string::npos || text.find(others.name) != std::string::npos;
        const std::scoped_lock lock{mutex};
        if (!named || !both || !calls) {
            wrong += fmt::format(
                "{} on rank {} against {}: rank {} hears: {}\n", odd.name, odd_rank, others.name, rank, text);
        }
        if (std::chrono::steady_clock::now() - begin > soon) {
            wrong += fmt::format(
                "{} on rank {} against {}: rank {} hears late: {}\n", odd.name, odd_rank, others.name, rank, text);
        }
    });
    return wrong;
}

struct Pair {
    Operation odd;
    Operation others;
};

/// With each rank as the odd one, several at a time, since most of it is waiting.
std::string clashes(const std::vector<Pair>& pairs) {
    constexpr int at_a_time = 12;
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::string wrong;
    in_threads(at_a_time, [&](int) {
        for (std::size_t i = next++; i < pairs.size() * size; i = next++) {
            const auto text = clash(static_cast<int>(i % size), pairs[i / size].odd, pairs[i / size].others);
            const std::scoped_lock lock{mutex};
            wrong += text;
        }
    });
    return wrong;
}

TEST(Mismatch, of_any_two_operations_is_named_soon) {
    std::vector<Pair> pairs;
    for (const auto bytes : {small, large}) {
        const auto operations = all_operations(bytes);
        for (const auto& odd : operations) {
            for (const auto& others : operations) {
                if (odd.name != others.name) {
                    pairs.push_back({odd, others});
                }
            }
        }
    }
    EXPECT_EQ(clashes(pairs), "");
}

TEST(Mismatch, of_any_operation_with_itself_is_named_soon) {
    const Lengths even(size, 400);
    const Lengths uneven{404, 400, 396};
    const Lengths wide(size, 400'000);
    const Lengths uneven_wide{400'004, 400'000, 399'996};
    std::vector<Pair> pairs;
    for (const auto bytes : {small, large}) {
        const auto type = ElementType::i32;
        const auto op = ReduceOp::max;
        pairs.push_back({all_reduce(bytes), all_reduce(bytes + 4)});
        pairs.push_back({all_reduce(bytes, type), all_reduce(bytes)});
        pairs.push_back({all_reduce(bytes, ElementType::f32, op), all_reduce(bytes)});
        pairs.push_back({own_reduction(bytes, 4), all_reduce(bytes)});
        pairs.push_back({own_reduction(bytes, 4), own_reduction(bytes, 8)});
        pairs.push_back({reduce(bytes), reduce(bytes + 4)});
        pairs.push_back({reduce(bytes, 0), reduce(bytes, 1)});
        pairs.push_back({reduce(bytes, 0, type), reduce(bytes)});
        pairs.push_back({reduce(bytes, 0, type, op), reduce(bytes, 0, type)});
        pairs.push_back({broadcast(bytes), broadcast(bytes + 1)});
        pairs.push_back({broadcast(bytes, 0), broadcast(bytes, 2)});
        pairs.push_back({all_to_all(bytes), all_to_all(bytes + 1)});
        pairs.push_back({all_to_all(bytes), all_to_all(0)});
    }
    pairs.push_back({all_reduce(small), all_reduce(large)});
    pairs.push_back({rounded(WireFormat::f16), rounded(WireFormat::as_is)});
    pairs.push_back({rounded(WireFormat::f16), rounded(WireFormat::bf16)});
    pairs.push_back({broadcast(small), broadcast(large)});
    pairs.push_back({all_to_all(small), all_to_all(large)});
    for (const auto& [a, b] : {std::pair{even, uneven}, std::pair{wide, uneven_wide}, std::pair{even, wide}}) {
        pairs.push_back({reduce_scatter(a), reduce_scatter(b)});
        pairs.push_back({all_gather(a), all_gather(b)});
        pairs.push_back({gather(a), gather(b)});
        pairs.push_back({gather(a, 0), gather(a, 1)});
        pairs.push_back({scatter(a), scatter(b)});
        pairs.push_back({scatter(a, 0), scatter(a, 1)});
        pairs.push_back({reduce_scatter(a, ElementType::i32), reduce_scatter(a)});
        pairs.push_back({reduce_scatter(a, ElementType::f32, ReduceOp::max), reduce_scatter(a)});
    }
    EXPECT_EQ(clashes(pairs), "");
}

TEST(Mismatch, of_a_transfers_size_names_both_sizes) {
    for (const std::size_t bytes : {std::size_t{0}, small, large}) {
        const auto groups = plain_groups(2);
        in_threads(2, [&](int rank) {
            auto& group = *groups[static_cast<std::size_t>(rank)];
            Bytes data(rank == 0 ? bytes : bytes + 3);
            try {
                (rank == 0 ? group.send(data, 1, 5) : group.receive(data, 0, 5))->wait();
                group.barrier();
                ADD_FAILURE() << "it was taken";
            } catch (const GroupFailed& failure) {
                EXPECT_EQ(failure.what(),
                          fmt::format("rank 0 (gnb-0) sends {} bytes in transfer with tag 5 ({} bytes), where rank 1 "
                                      "(gnb-1) expects {}",
                                      bytes,
                                      bytes,
                                      bytes + 3));
            }
        });
    }
}

TEST(Mismatch, of_lengths_whose_sum_wraps_around_is_refused) {
    const auto groups = plain_groups(2);
    Bytes data(16);
    const Lengths lengths{SIZE_MAX - 7, 16};
    EXPECT_THROW(groups[0]->all_gather(data, data, lengths), std::invalid_argument);
    EXPECT_THROW(groups[0]->gather(data, data, lengths, 0), std::invalid_argument);
    EXPECT_THROW(groups[0]->all_to_all(data, lengths, data, lengths), std::invalid_argument);
}

} // namespace
} // namespace muster::collective
