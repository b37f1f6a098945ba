/// Messages from rank to rank, sub-groups, and both at the same time as everything else.
#include "collective/group_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <random>

namespace muster::collective {
namespace {

using test::in_threads;
using test::run_ranks;
using Bytes = std::vector<std::byte>;

Bytes filled(std::size_t size, int value) {
    return Bytes(size, static_cast<std::byte>(value));
}

TEST(Transfer, arrives_in_order_for_each_tag_whatever_its_size) {
    run_ranks(2, [](Group& group) {
        constexpr std::size_t sizes[] = {0, 1, 100, 32'768, 32'769, 1'000'000, 5, 70'000};
        std::vector<Bytes> data;
        std::vector<std::unique_ptr<Transfer>> transfers;
        for (int round = 0; round < 4; ++round) {
            for (const auto size : sizes) {
                const auto tag = static_cast<std::uint64_t>(round % 2);
                data.push_back(filled(size, group.rank() == 0 ? static_cast<int>(data.size()) : 0xee));
                transfers.push_back(group.rank() == 0 ? group.send(data.back(), 1, tag)
                                                      : group.receive(data.back(), 0, tag));
            }
        }
        for (std::size_t i = 0; i < transfers.size(); ++i) {
            transfers[i]->wait();
            EXPECT_TRUE(transfers[i]->done());
            EXPECT_EQ(transfers[i]->peer(), 1 - group.rank());
            EXPECT_EQ(data[i], filled(data[i].size(), static_cast<int>(i)));
        }
    });
}

TEST(Transfer, is_found_by_its_tag_in_any_order) {
    run_ranks(2, [](Group& group) {
        for (const std::size_t size : {std::size_t{10}, std::size_t{200'000}}) {
            if (group.rank() == 0) {
                const auto one = filled(size, 1);
                const auto two = filled(size, 2);
                const auto first = group.send(one, 1, 1);
                const auto second = group.send(two, 1, 2);
                second->wait(); // In the wrong order on purpose: rank 1 asks for the second first.
                first->wait();
            } else {
                Bytes data(size);
                group.receive(data, 0, 2)->wait();
                EXPECT_EQ(data, filled(size, 2));
                group.receive(data, 0, 1)->wait();
                EXPECT_EQ(data, filled(size, 1));
            }
        }
    });
}

TEST(Transfer, from_any_rank_says_who_sent_it) {
    run_ranks(4, [](Group& group) {
        for (const std::size_t size : {std::size_t{8}, std::size_t{100'000}}) {
            if (group.rank() == 3) {
                std::vector<bool> seen(3);
                for (int i = 0; i < 3; ++i) {
                    Bytes data(size);
                    const auto transfer = group.receive(data, Group::any_rank, 9);
                    transfer->wait();
                    ASSERT_EQ(data, filled(size, transfer->peer()));
                    seen[static_cast<std::size_t>(transfer->peer())] = true;
                }
                EXPECT_EQ(seen, std::vector<bool>(3, true));
            } else {
                group.send(filled(size, group.rank()), 3, 9)->wait();
            }
            group.barrier();
        }
    });
}

TEST(Transfer, both_ways_at_once_never_locks_up) {
    // What 1F1B does, and what Gloo's TLS dies of: both send much before either receives.
    run_ranks(2, [](Group& group) {
        const auto out = filled(20'000'000, group.rank());
        Bytes in(out.size());
        const auto sending = group.send(out, 1 - group.rank(), 0);
        const auto receiving = group.receive(in, 1 - group.rank(), 0);
        receiving->wait();
        sending->wait();
        EXPECT_EQ(in, filled(in.size(), 1 - group.rank()));
    });
}

TEST(Transfer, of_another_size_than_expected_fails_on_both_sides) {
    for (const std::size_t size : {std::size_t{10}, std::size_t{100'000}}) {
        run_ranks(2, [&](Group& group) {
            Bytes data(group.rank() == 0 ? size : size + 4);
            try {
                const auto transfer = group.rank() == 0 ? group.send(data, 1, 3) : group.receive(data, 0, 3);
                transfer->wait();
                group.barrier();
                ADD_FAILURE() << "went through";
            } catch (const GroupFailed& failure) {
                EXPECT_EQ(std::string{failure.what()},
                          fmt::format("rank 0 (gnb-0) sends {} bytes in transfer with tag 3 ({} bytes), where rank 1 "
                                      "(gnb-1) expects {}",
                                      size,
                                      size,
                                      size + 4));
            }
        });
    }
}

TEST(Transfer, many_that_nobody_asks_for_yet_do_not_stop_a_collective) {
    run_ranks(2, [](Group& group) {
        constexpr int count = 500; // Much more than the credit.
        std::vector<Bytes> data;
        std::vector<std::unique_ptr<Transfer>> transfers;
        for (int i = 0; i < count; ++i) {
            data.push_back(filled(20'000, group.rank() == 0 ? i : 0));
        }
        if (group.rank() == 0) {
            for (int i = 0; i < count; ++i) {
                transfers.push_back(group.send(data[static_cast<std::size_t>(i)], 1, 5));
            }
        }
        std::vector<float> large(300'000, 1);
        group.all_reduce(std::as_writable_bytes(std::span{large}), ElementType::f32, ReduceOp::sum);
        group.barrier();
        EXPECT_EQ(large[7], 2);
        if (group.rank() == 1) {
            for (int i = 0; i < count; ++i) {
                transfers.push_back(group.receive(data[static_cast<std::size_t>(i)], 0, 5));
            }
        }
        for (int i = 0; i < count; ++i) {
            transfers[static_cast<std::size_t>(i)]->wait();
            ASSERT_EQ(data[static_cast<std::size_t>(i)], filled(20'000, i));
        }
        group.barrier();
    });
}

TEST(Transfer, let_go_before_its_end_leaves_the_group_working) {
    run_ranks(2, [](Group& group) {
        if (group.rank() == 0) {
            (void)group.send(filled(300'000, 7), 1, 1); // Its buffer and the transfer are gone at once.
            Bytes never(10);
            (void)group.receive(never, 1, 99);
        } else {
            Bytes cancelled(50'000);
            (void)group.receive(cancelled, 0, 2);
            Bytes data(300'000);
            group.receive(data, 0, 1)->wait();
            EXPECT_EQ(data, filled(300'000, 7));
        }
        group.barrier();
    });
}

TEST(Transfer, refuses_ranks_that_are_none) {
    run_ranks(2, [](Group& group) {
        Bytes data(1);
        EXPECT_THROW((void)group.send(data, group.rank(), 0), std::invalid_argument);
        EXPECT_THROW((void)group.send(data, 2, 0), std::invalid_argument);
        EXPECT_THROW((void)group.receive(data, -2, 0), std::invalid_argument);
    });
}

void sum_ranks(Group& group, std::size_t count, std::int32_t scale) {
    std::vector<std::int32_t> data(count, (group.rank() + 1) * scale);
    group.all_reduce(std::as_writable_bytes(std::span{data}), ElementType::i32, ReduceOp::sum);
    const auto expected = group.size() * (group.size() + 1) / 2 * scale;
    ASSERT_EQ(data.front(), expected);
    ASSERT_EQ(data.back(), expected);
}

TEST(Subgroup, has_its_own_numbering_and_may_outlive_its_parent) {
    run_ranks(4, [](Group& group) {
        // Ranks 3, 1 and 0, in this order.
        std::unique_ptr<Group> some;
        if (group.rank() != 2) {
            const int ranks[] = {3, 1, 0};
            some = group.subgroup("some", ranks);
            EXPECT_EQ(some->size(), 3);
            EXPECT_EQ(some->rank(), group.rank() == 3 ? 0 : group.rank() == 1 ? 1 : 2);
            sum_ranks(*some, 10, 1);
            sum_ranks(*some, 100'000, 3);
            const int pair[] = {0, 2}; // Of the sub-group: ranks 3 and 0 of all.
            if (some->rank() != 1) {
                const auto nested = some->subgroup("pair", pair);
                sum_ranks(*nested, 50'000, 5);
            }
        }
        const int self[] = {group.rank()};
        sum_ranks(*group.subgroup("self" + std::to_string(group.rank()), self), 5, 1);
        group.barrier();
        if (some != nullptr) {
            some->barrier();
        }
    });
}

TEST(Subgroup, refuses_ranks_that_cannot_be_meant) {
    run_ranks(2, [](Group& group) {
        const int twice[] = {0, 1, 1};
        const int foreign[] = {0, 1, 2};
        const int other[] = {1 - group.rank()};
        EXPECT_THROW((void)group.subgroup("a", twice), std::invalid_argument);
        EXPECT_THROW((void)group.subgroup("b", foreign), std::invalid_argument);
        EXPECT_THROW((void)group.subgroup("c", other), std::invalid_argument);
    });
}

TEST(Subgroups, work_at_the_same_time_in_whatever_order_ranks_come_to_them) {
    // Each rank runs its groups in threads of their own, and transfers besides, all over the same connections.
    run_ranks(
        4,
        [](Group& group) {
            const int left[] = {0, 1};
            const int right[] = {2, 3};
            const int cross[] = {0, 2};
            const int other_cross[] = {1, 3};
            const int all[] = {0, 1, 2, 3};
            std::vector<std::unique_ptr<Group>> groups;
            groups.push_back(group.subgroup("halves", group.rank() < 2 ? left : right));
            groups.push_back(group.subgroup("cross", group.rank() % 2 == 0 ? cross : other_cross));
            groups.push_back(group.subgroup("all again", all));
            in_threads(5, [&](int thread) {
                std::mt19937 random{static_cast<unsigned>(thread)};
                if (thread < 3) {
                    for (int i = 0; i < 40; ++i) {
                        sum_ranks(*groups[static_cast<std::size_t>(thread)], 1 + random() % 60'000, i + 1);
                    }
                } else if (thread == 3) {
                    for (int i = 0; i < 40; ++i) {
                        sum_ranks(group, 1 + random() % 30'000, i + 1);
                    }
                } else {
                    const int next = (group.rank() + 1) % 4;
                    const int previous = (group.rank() + 3) % 4;
                    for (int i = 0; i < 60; ++i) {
                        const std::size_t size = random() % 100'000;
                        const auto out = filled(size, i);
                        Bytes in(size);
                        const auto sending = group.send(out, next, 77);
                        group.receive(in, previous, 77)->wait();
                        ASSERT_EQ(in, out);
                        sending->wait();
                    }
                }
            });
        },
        [](GroupSpec& spec) { spec.tuning = ring_above(8U << 10U); });
}

TEST(Subgroup, that_is_aborted_leaves_the_others_alone) {
    run_ranks(3, [](Group& group) {
        const int pair[] = {0, 1};
        if (group.rank() < 2) {
            const auto some = group.subgroup("pair", pair);
            if (group.rank() == 0) {
                some->abort("not this one");
            }
            try {
                for (;;) {
                    std::vector<float> data(300'000, 1);
                    some->all_reduce(std::as_writable_bytes(std::span{data}), ElementType::f32, ReduceOp::sum);
                }
            } catch (const GroupFailed& failure) {
                EXPECT_EQ(failure.culprit(), 0);
                EXPECT_EQ(std::string{failure.what()}, "rank 0 (gnb-0) aborted the group: not this one");
            }
            EXPECT_THROW(some->barrier(), GroupFailed) << "a group stays dead";
        }
        sum_ranks(group, 200'000, 2);
        group.barrier();
    });
}

TEST(Subgroup, that_fails_by_a_mismatch_leaves_the_others_alone) {
    run_ranks(3, [](Group& group) {
        const int all[] = {0, 1, 2};
        const auto some = group.subgroup("all", all);
        try {
            if (group.rank() == 1) {
                some->barrier();
            } else {
                sum_ranks(*some, 100'000, 1);
            }
            some->barrier();
            ADD_FAILURE() << "went through";
        } catch (const GroupFailed& failure) {
            EXPECT_NE(std::string{failure.what()}.find("ranks call different collectives"), std::string::npos)
                << failure.what();
        }
        sum_ranks(group, 200'000, 2);
    });
}

TEST(Subgroup, ends_with_the_group_of_all_ranks) {
    run_ranks(2, [](Group& group) {
        const int all[] = {0, 1};
        const auto some = group.subgroup("all", all);
        if (group.rank() == 0) {
            group.abort("over");
        }
        try {
            for (;;) {
                some->barrier();
            }
        } catch (const GroupFailed& failure) {
            EXPECT_EQ(std::string{failure.what()}, "rank 0 (gnb-0) aborted the group: over");
        }
    });
}

} // namespace
} // namespace muster::collective
