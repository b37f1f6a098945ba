/// Who is silent, when ranks wait for each other in several groups.
#include "collective/plain_groups.h"

#include <gtest/gtest.h>

#include <latch>
#include <mutex>

namespace muster::collective {
namespace {

using test::in_threads;
using test::plain_groups;
using Bytes = std::vector<std::byte>;
using Body = std::function<void(Group&)>;

/// What ranks 0 and 2 hear when rank 1 of three does nothing. Each rank is in the group of all while it runs its body.
std::vector<std::string> heard(const Body& rank_0, const Body& rank_2) {
    const auto groups =
        plain_groups(3, [](GroupSpec& spec) { spec.operation_timeout = std::chrono::milliseconds{800}; });
    std::latch over{2};
    std::mutex mutex;
    std::vector<std::string> texts;
    in_threads(3, [&](int rank) {
        auto& group = *groups[static_cast<std::size_t>(rank)];
        if (rank == 1) {
            over.wait();
            return;
        }
        try {
            (rank == 0 ? rank_0 : rank_2)(group);
        } catch (const GroupFailed& failure) {
            group.abort(failure.what()); // As a worker does when a sub-group has failed.
            const std::scoped_lock lock{mutex};
            texts.emplace_back(failure.what());
        }
        over.count_down();
    });
    return texts;
}

void expect_rank_1_named(const std::vector<std::string>& texts) {
    ASSERT_EQ(texts.size(), 2U);
    for (const auto& text : texts) {
        EXPECT_NE(text.find("rank 1 (gnb-1) is silent"), std::string::npos) << text;
    }
}

void wait_for_rank_1(Group& group) {
    Bytes data(10);
    group.receive(data, 1, 5)->wait();
}

std::unique_ptr<Group> part_of(Group& group) {
    return group.subgroup("part", std::vector<int>{0, 2});
}

TEST(Silence, is_not_that_of_a_rank_which_waits_in_the_group_of_all) {
    expect_rank_1_named(heard(wait_for_rank_1, [](Group& group) { part_of(group)->barrier(); }));
}

TEST(Silence, is_not_that_of_a_rank_which_waits_in_a_group_that_this_one_is_not_in) {
    expect_rank_1_named(heard(
        [](Group& group) {
            const auto pair = group.subgroup("pair", std::vector<int>{0, 1});
            wait_for_rank_1(*pair);
        },
        [](Group& group) { group.barrier(); }));
}

TEST(Silence, is_not_that_of_a_rank_which_waits_in_a_group_that_this_one_has_left) {
    expect_rank_1_named(heard(
        [](Group& group) {
            const auto all = group.subgroup("all", std::vector<int>{0, 1, 2});
            wait_for_rank_1(*all);
        },
        [](Group& group) {
            (void)group.subgroup("all", std::vector<int>{0, 1, 2});
            part_of(group)->barrier();
        }));
}

TEST(Silence, is_not_that_of_a_rank_which_receives_from_any_in_another_group) {
    const auto receive_from_any = [](Group& group) {
        Bytes data(10);
        group.receive(data, Group::any_rank, 5)->wait();
    };
    expect_rank_1_named(heard(receive_from_any, [](Group& group) { part_of(group)->barrier(); }));
    expect_rank_1_named(heard(wait_for_rank_1, [&](Group& group) { receive_from_any(*part_of(group)); }));
}

TEST(Silence, of_the_one_rank_that_does_not_wait_is_found_by_who_receives_from_any) {
    expect_rank_1_named(heard(
        [](Group& group) {
            Bytes data(10);
            group.receive(data, Group::any_rank, 5)->wait();
        },
        [](Group& group) { group.barrier(); }));
}

} // namespace
} // namespace muster::collective
