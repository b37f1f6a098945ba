/// Every operation of the backend on tensors that are not one contiguous piece, through groups and sub-groups.
#include "process_group/backend.h"
#include "process_group/loopback_groups.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <latch>

namespace muster::process_group {
namespace {

using testing::run_ranks;
using GroupPtr = std::shared_ptr<collective::Group>;

/// Runs `body(backend)` on three ranks.
void on_three(const std::function<void(MusterBackend&)>& body) {
    run_ranks(3, [&](GroupPtr group) {
        MusterBackend backend{std::move(group), std::make_shared<Executor>()};
        body(backend);
        backend.shutdown();
    });
}

/// 2 x 3, every second column of a wider tensor: strided.
at::Tensor strided(double value, at::ScalarType type = at::kFloat) {
    return at::full({2, 6}, value, type).slice(1, 0, 6, 2);
}

std::string refused(const std::function<void()>& action) {
    try {
        action();
    } catch (const c10::Error& error) {
        return error.what_without_backtrace();
    }
    return "accepted";
}

TEST(Operations, reduce_leaves_the_others_tensors) {
    on_three([](MusterBackend& backend) {
        Tensors tensors{strided(backend.getRank() + 1)};
        c10d::ReduceOptions options;
        options.rootRank = 1;
        options.reduceOp = c10d::ReduceOp::AVG;
        backend.reduce(tensors, options)->wait();
        EXPECT_TRUE(tensors[0].eq(backend.getRank() == 1 ? 2 : backend.getRank() + 1).all().item<bool>());
    });
}

TEST(Operations, bitwise_reductions_of_integers) {
    on_three([](MusterBackend& backend) {
        for (const auto& [operation, expected] : std::vector<std::pair<c10d::ReduceOp::RedOpType, int>>{
                 {c10d::ReduceOp::BAND, 0b1000}, {c10d::ReduceOp::BOR, 0b1111}, {c10d::ReduceOp::BXOR, 0b1111}}) {
            Tensors tensors{at::full({5}, 0b1000 | 1 << backend.getRank(), at::kShort)};
            c10d::AllreduceOptions options;
            options.reduceOp = operation;
            backend.allreduce(tensors, options)->wait();
            EXPECT_TRUE(tensors[0].eq(expected).all().item<bool>()) << static_cast<int>(operation);
        }
    });
}

TEST(Operations, gather_and_scatter_at_any_root) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        c10d::GatherOptions to;
        to.rootRank = 2;
        Tensors own{strided(rank)};
        std::vector<Tensors> gathered;
        if (rank == 2) {
            gathered.push_back({strided(9), strided(9), strided(9)});
        }
        backend.gather(gathered, own, to)->wait();
        for (int from = 0; rank == 2 && from < 3; ++from) {
            EXPECT_TRUE(gathered[0][static_cast<std::size_t>(from)].eq(from).all().item<bool>());
        }

        c10d::ScatterOptions from;
        from.rootRank = 1;
        std::vector<Tensors> parts;
        if (rank == 1) {
            parts.push_back({strided(10), strided(11), strided(12)});
        }
        Tensors received{strided(0)};
        backend.scatter(received, parts, from)->wait();
        EXPECT_TRUE(received[0].eq(10 + rank).all().item<bool>());
    });
}

TEST(Operations, all_gather_in_every_form) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        // rank-major lists of tensors of several types
        Tensors inputs{strided(rank), at::full({3}, rank, at::kByte)};
        std::vector<Tensors> lists;
        for (int i = 0; i < 3; ++i) {
            lists.push_back({strided(9), at::empty({3}, at::kByte)});
        }
        backend.allgather_coalesced(lists, inputs)->wait();
        for (int from = 0; from < 3; ++from) {
            EXPECT_TRUE(lists[static_cast<std::size_t>(from)][0].eq(from).all().item<bool>());
            EXPECT_TRUE(lists[static_cast<std::size_t>(from)][1].eq(from).all().item<bool>());
        }
        Tensors whole{at::empty({6, 3}), at::empty({9}, at::kByte)};
        backend.allgather_into_tensor_coalesced(whole, inputs)->wait();
        EXPECT_TRUE(whole[0].equal(at::tensor({0.F, 0.F, 1.F, 1.F, 2.F, 2.F}).view({6, 1}).expand({6, 3})));
        EXPECT_TRUE(whole[1].equal(at::tensor({0, 0, 0, 1, 1, 1, 2, 2, 2}, at::kByte)));
    });
}

TEST(Operations, reduce_scatter_in_every_form) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        // blocks of 1, 2 and 3 elements; block r is 10 r + (rank + 1)
        std::vector<Tensors> blocks(1);
        for (int r = 0; r < 3; ++r) {
            blocks[0].push_back(at::full({r + 1}, 10 * r + rank + 1, at::kDouble));
        }
        Tensors own{at::zeros({rank + 1}, at::kDouble)};
        backend.reduce_scatter(own, blocks)->wait();
        EXPECT_TRUE(own[0].eq(30 * rank + 6).all().item<bool>());

        Tensors inputs{at::arange(6, at::kFloat), at::ones({3}, at::kBool)};
        Tensors outputs{at::empty({2}), at::empty({1}, at::kBool)};
        backend.reduce_scatter_tensor_coalesced(outputs, inputs)->wait();
        EXPECT_TRUE(outputs[0].equal(at::tensor({6.F * static_cast<float>(rank), 6.F * static_cast<float>(rank) + 3})));
        EXPECT_TRUE(outputs[1].all().item<bool>());
    });
}

TEST(Operations, reduce_scatter_and_all_gather_in_place_with_unequal_and_empty_blocks) {
    on_three([](MusterBackend& backend) {
        const auto rank = static_cast<std::size_t>(backend.getRank());
        constexpr std::int64_t elements = 300'000; // travels in many pieces
        for (const std::vector<std::int64_t>& sizes :
             {std::vector<std::int64_t>{elements - 3, 0, 3}, {0, 0, elements}}) {
            auto whole = at::arange(elements, at::kDouble) + static_cast<double>(rank);
            const auto expected = at::arange(elements, at::kDouble) * 3 + 3;
            const std::vector<Tensors> blocks{whole.split_with_sizes(sizes)};
            auto inputs = blocks;
            Tensors own{blocks[0][rank]};
            backend.reduce_scatter(own, inputs)->wait();
            EXPECT_TRUE(own[0].equal(expected.split_with_sizes(sizes)[rank]));
            auto outputs = blocks;
            backend.allgather(outputs, own)->wait();
            EXPECT_TRUE(whole.equal(expected));
        }
    });
}

TEST(Operations, reduce_scatter_into_the_block_of_another_rank) {
    on_three([](MusterBackend& backend) {
        auto whole = at::ones({9});
        std::vector<Tensors> blocks{whole.split(3)};
        Tensors next{blocks[0][static_cast<std::size_t>((backend.getRank() + 1) % 3)]};
        backend.reduce_scatter(next, blocks)->wait();
        EXPECT_TRUE(next[0].eq(3.0).all().item<bool>());
        EXPECT_EQ(whole.sum().item<double>(), 6.0 + 9.0);
    });
}

TEST(Operations, all_to_all_with_unequal_and_empty_parts) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        // rank s sends r rows of the value 10 s + r to rank r
        auto input = at::cat({at::full({1, 2}, 10 * rank + 1), at::full({2, 2}, 10 * rank + 2)}).to(at::kFloat);
        auto output = at::zeros({3 * rank, 2});
        std::vector<std::int64_t> sent{0, 1, 2};
        std::vector<std::int64_t> received(3, rank);
        backend.alltoall_base(output, input, received, sent)->wait();
        for (int from = 0; from < 3; ++from) {
            EXPECT_TRUE(output.slice(0, from * rank, (from + 1) * rank).eq(10 * from + rank).all().item<bool>());
        }
        Tensors inputs{strided(10 * rank), strided(10 * rank + 1), strided(10 * rank + 2)};
        Tensors outputs{strided(0), strided(0), strided(0)};
        backend.alltoall(outputs, inputs)->wait();
        for (int from = 0; from < 3; ++from) {
            EXPECT_TRUE(outputs[static_cast<std::size_t>(from)].eq(10 * from + rank).all().item<bool>());
        }
    });
}

TEST(Operations, sparse_sums_of_different_numbers_of_elements) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        const auto dense = at::diag(at::arange(4, at::kDouble)) * (rank == 0 ? 0 : rank);
        Tensors tensors{dense.to_sparse()};
        backend.allreduce(tensors)->wait();
        EXPECT_TRUE(tensors[0].to_dense().equal(at::diag(at::arange(4, at::kDouble)) * 3));
    });
}

TEST(Operations, messages_keep_their_order_and_tags) {
    on_three([](MusterBackend& backend) {
        constexpr std::int64_t large = 1 << 20; // more than the sockets hold
        const int rank = backend.getRank();
        if (rank == 0) {
            Tensors first{at::full({large}, 1.F)};
            Tensors second{strided(2)};
            Tensors other{at::full({1}, 3, at::kLong)};
            backend.send(first, 1, 7); // its Work is dropped at once
            auto work = backend.send(second, 1, 7);
            backend.send(other, 1, 8)->wait();
            work->wait();
        } else if (rank == 1) {
            Tensors other{at::zeros({1}, at::kLong)};
            Tensors first{at::zeros({large})};
            Tensors second{strided(0)};
            auto later = backend.recv(first, 0, 7);
            auto last = backend.recv(second, 0, 7);
            backend.recv(other, 0, 8)->wait();
            last->wait();
            later->wait();
            EXPECT_EQ(other[0].item<int>(), 3);
            EXPECT_TRUE(first[0].eq(1).all().item<bool>());
            EXPECT_TRUE(second[0].eq(2).all().item<bool>());
        }
        Tensors any{at::full({4}, rank)};
        if (rank == 2) {
            Tensors from_any{at::zeros({4}, at::kLong)};
            for (int i = 0; i < 2; ++i) {
                auto work = backend.recvAnysource(from_any, 1);
                work->wait();
                EXPECT_TRUE(from_any[0].eq(work->sourceRank()).all().item<bool>());
            }
        } else {
            backend.send(any, 2, 1)->wait();
        }
    });
}

TEST(Operations, sub_groups_run_beside_each_other_and_may_have_a_name_again) {
    on_three([](MusterBackend& backend) {
        const int rank = backend.getRank();
        const auto sum = [&](MusterBackend& group) {
            Tensors tensors{at::full({1}, 1 << rank, at::kLong)};
            auto work = group.allreduce(tensors);
            work->wait();
            return tensors[0].item<std::int64_t>();
        };
        const auto everybody = backend.subgroup("all", {2, 1, 0}, std::chrono::milliseconds{0});
        EXPECT_EQ(everybody->getRank(), 2 - rank);
        for (int round = 0; round < 3; ++round) {
            if (rank != 1) {
                const auto options = c10::make_intrusive<c10d::Backend::Options>("muster", std::chrono::seconds{20});
                options->group_name = "outer";
                const auto outer = backend.split({}, {0, 2}, options);
                EXPECT_EQ(sum(static_cast<MusterBackend&>(*outer)), 0b101);
            }
        }
        EXPECT_EQ(sum(*everybody), 0b111);
        EXPECT_EQ(sum(backend), 0b111);
        EXPECT_EQ(everybody->queue()->executor(), backend.queue()->executor()) << "groups share their threads";
    });
}

TEST(Operations, monitored_barrier_names_who_is_missing_on_all_ranks) {
    std::latch over{2};
    on_three([&](MusterBackend& backend) {
        c10d::BarrierOptions options;
        options.timeout = std::chrono::milliseconds{300};
        auto group = backend.subgroup("watched", {0, 1, 2}, std::chrono::milliseconds{0});
        options.timeout = std::chrono::seconds{20};
        group->monitoredBarrier(options, true); // all come
        if (backend.getRank() == 2) {
            over.wait();
            return;
        }
        options.timeout = std::chrono::milliseconds{300};
        const auto words = refused([&] { group->monitoredBarrier(options, false); });
        EXPECT_NE(words.find("Rank 2 failed to pass monitoredBarrier in 300 ms"), std::string::npos) << words;
        over.count_down();
    });
}

TEST(Operations, arguments_that_cannot_be_meant_are_refused_before_anything_is_sent) {
    on_three([](MusterBackend& backend) {
        Tensors one{at::ones({2})};
        Tensors two{at::ones({2}), at::ones({2})};
        std::vector<Tensors> three{{at::ones({2}), at::ones({2}), at::ones({2})}};
        std::vector<Tensors> uneven{{at::ones({2}), at::ones({3}), at::ones({2})}};
        std::vector<Tensors> mixed{{at::ones({2}), at::ones({2}, at::kLong), at::ones({2})}};
        std::vector<Tensors> too_few{two};
        std::vector<Tensors> none;
        c10d::GatherOptions mine;
        mine.rootRank = backend.getRank();
        c10d::BroadcastOptions nobody;
        nobody.rootRank = 3;
        EXPECT_NE(refused([&] { backend.broadcast(one, nobody); }).find("root 3 of 3"), std::string::npos);
        EXPECT_NE(refused([&] { backend.reduce(two); }).find("one tensor, not 2"), std::string::npos);
        EXPECT_NE(refused([&] { backend.allgather(too_few, one); }).find("one block for each of 3"), std::string::npos);
        EXPECT_NE(refused([&] { backend.allgather(mixed, one); }).find("different types"), std::string::npos);
        EXPECT_NE(refused([&] { backend.gather(uneven, one, mine); }).find(" size"), std::string::npos);
        mine.rootRank = (backend.getRank() + 1) % 3;
        EXPECT_NE(refused([&] { backend.gather(three, one, mine); }).find("at the root only"), std::string::npos);
        auto output = at::empty({4});
        EXPECT_NE(refused([&] { backend._allgather_base(output, one[0]); }).find("3 times"), std::string::npos);
        EXPECT_NE(refused([&] { backend._reduce_scatter_base(one[0], output); }).find("3 times"), std::string::npos);
        std::vector<std::int64_t> splits{1, 1, 1};
        EXPECT_NE(refused([&] { backend.alltoall_base(output, output, splits, splits); }).find("add up"),
                  std::string::npos);
        Tensors sparse{at::ones({2}).to_sparse()};
        EXPECT_NE(refused([&] { backend.broadcast(sparse); }).find("dense"), std::string::npos);
        EXPECT_EQ(backend.getSequenceNumberForGroup(), 0U);
    });
}

TEST(Operations, ranks_that_disagree_are_told_who_called_what) {
    run_ranks(2, [](GroupPtr group) {
        MusterBackend backend{std::move(group), std::make_shared<Executor>()};
        Tensors tensors{at::ones({backend.getRank() == 0 ? 4 : 5})};
        std::string words;
        try {
            backend.allreduce(tensors)->wait();
        } catch (const collective::GroupFailed& failure) {
            words = failure.what();
        }
        EXPECT_NE(words.find("16 bytes"), std::string::npos) << words;
        EXPECT_NE(words.find("20 bytes"), std::string::npos) << words;
    });
}

} // namespace
} // namespace muster::process_group
