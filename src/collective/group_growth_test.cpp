/// Groups that are made and dropped again and again: nothing of them may stay.
#include "collective/plain_groups.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <latch>

namespace muster::collective {
namespace {

using test::connect;
using test::identity_of;
using test::in_threads;
using test::Pki;
using test::Town;
using Bytes = std::vector<std::byte>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::int64_t growth_max_kb = 4 << 20; // The sanitizers keep what was freed.
constexpr int rebuilds = 100;
constexpr int subgroups = 200;
#else
constexpr std::int64_t growth_max_kb = 4 << 10;
constexpr int rebuilds = 1000;
constexpr int subgroups = 2000;
#endif

/// What this process holds.
struct Holdings {
    std::int64_t descriptors{};
    std::int64_t threads{};
    std::int64_t rss_kb{};

    static Holdings now() {
        const auto entries = [](const char* folder) {
            const std::filesystem::directory_iterator all{folder};
            return std::distance(begin(all), end(all));
        };
        Holdings held{entries("/proc/self/fd"), entries("/proc/self/task"), 0};
        std::ifstream status{"/proc/self/status"};
        for (std::string word; status >> word;) {
            if (word == "VmRSS:") {
                status >> held.rss_kb;
            }
        }
        return held;
    }
    void expect_no_more_than(const Holdings& before) const {
        EXPECT_EQ(descriptors, before.descriptors);
        EXPECT_EQ(threads, before.threads);
        EXPECT_LE(rss_kb, before.rss_kb + growth_max_kb);
    }
};

void work(Group& group) {
    Bytes data(40'000);
    group.all_reduce(data, ElementType::f32, ReduceOp::sum);
    const int peer = 1 - group.rank();
    if (group.rank() == 0) {
        group.send(data, peer, 1)->wait();
    } else {
        group.receive(data, peer, 1)->wait();
    }
    group.barrier();
}

/// Generation after generation of one group of two in one process, with new certificates now and then.
class Generations {
public:
    void next() {
        ++generation_;
        if (generation_ % 10 == 1) {
            for (int rank = 0; rank < 2; ++rank) {
                credentials_.at(static_cast<std::size_t>(rank)) = Pki::shared().member(identity_of(rank));
            }
        }
        std::latch connected{2};
        in_threads(2, [&](int rank) {
            auto group = connect(town_, spec(rank)).value();
            connected.arrive_and_wait();
            switch (generation_ % 4) {
            case 0: // One says that it ends, the other hears it or not.
                if (rank == 0) {
                    group->abort("generation over");
                }
                break;
            case 1: // Left in good order, with a sub-group.
                work(*group->subgroup("part", std::vector<int>{0, 1}));
                break;
            case 2: // Left with something under way.
                if (rank == 0) {
                    (void)group->send(Bytes(100'000), 1, 9);
                }
                break;
            default:
                work(*group);
            }
        });
    }
    /// A rank that has missed the last generation tries to come in with what it had then.
    void expect_that_the_old_one_is_refused() {
        const auto old_spec = spec(0);
        const auto old_generation = generation_;
        next();
        EXPECT_EQ(generation_, old_generation + 1);
        std::string refused;
        in_threads(2, [&](int rank) {
            if (rank == 1) {
                auto current = spec(1);
                current.on_refusal = [&](const std::string& reason) { refused += reason; };
                (void)connect(town_, std::move(current), std::chrono::seconds{2});
                return;
            }
            const auto own = test::listen_on_loopback();
            const auto group = Group::connect(old_spec, own.fd.get(), *tcp_dialer(), Deadline::after(test::patience));
            ASSERT_FALSE(group);
            EXPECT_EQ(group.error().code, ErrorCode::permission_denied);
            EXPECT_NE(group.error().text().find("stale generation"), std::string::npos) << group.error().text();
        });
        EXPECT_NE(refused.find("stale generation"), std::string::npos) << refused;
    }

private:
    [[nodiscard]] GroupSpec spec(int rank) const {
        auto made = town_.spec(rank);
        made.generation = generation_;
        made.credentials = credentials_.at(static_cast<std::size_t>(rank));
        return made;
    }

    Town town_{2};
    std::array<tls::Credentials, 2> credentials_{};
    int generation_{0};
};

TEST(Growth, there_is_none_over_a_thousand_generations_with_changing_certificates) {
    Generations generations;
    for (int i = 0; i < rebuilds / 5; ++i) {
        generations.next();
    }
    const auto before = Holdings::now();
    for (int i = rebuilds / 5; i < rebuilds; ++i) {
        generations.next();
    }
    generations.expect_that_the_old_one_is_refused();
    Holdings::now().expect_no_more_than(before);
}

TEST(Growth, there_is_none_over_two_thousand_subgroups) {
    constexpr int size = 3;
    const auto groups = test::plain_groups(size);
    const auto make_and_drop = [&](int first, int count) {
        in_threads(size, [&](int rank) {
            auto& group = *groups[static_cast<std::size_t>(rank)];
            for (int i = first; i < first + count; ++i) {
                const bool all = i % 2 == 0;
                if (!all && rank == 2) {
                    continue;
                }
                const auto ranks = all ? std::vector<int>{2, 0, 1} : std::vector<int>{0, 1};
                const auto part = group.subgroup(fmt::format("part {}", i), ranks);
                Bytes data(i % 3 == 0 ? 100'000 : 100);
                part->all_reduce(data, ElementType::u8, ReduceOp::max);
                if (i % 5 == 0 && part->rank() == 0) {
                    (void)part->send(data, 1, 4); // Nobody asks for it.
                }
            }
        });
    };
    make_and_drop(0, subgroups / 4);
    const auto before = Holdings::now();
    make_and_drop(subgroups / 4, subgroups - subgroups / 4);
    Holdings::now().expect_no_more_than(before);
    in_threads(size, [&](int rank) { groups[static_cast<std::size_t>(rank)]->barrier(); });
}

} // namespace
} // namespace muster::collective
