/// Members that were admitted and then send what no member sends: they fail, by name, and cost little memory.
#include "collective/arguments.h"
#include "collective/lane.h"
#include "collective/plain_groups.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <optional>

namespace muster::collective {
namespace {

using bench::PlainConnection;
using Bytes = std::vector<std::byte>;
constexpr auto patience = test::patience;

Bytes frame(const FrameHeader& header, const Bytes& payload = {}) {
    Bytes bytes(frame_header_bytes + payload.size());
    std::ranges::copy(payload, std::ranges::copy(encode(header), bytes.begin()).out);
    return bytes;
}

/// Rank 1. Rank 0 is the hostile one; the others say what the test lets them say.
class Besieged {
public:
    explicit Besieged(int size = 3) : peers_(static_cast<std::size_t>(size)) {
        const auto spec = test::plain_spec(size, 1);
        Edges edges(peers_.size());
        for (int rank = 0; rank < size; ++rank) {
            if (rank != spec.rank) {
                auto ends = test::connected_sockets();
                edges[static_cast<std::size_t>(rank)].push_back(std::make_unique<PlainConnection>(std::move(ends[0])));
                peers_[static_cast<std::size_t>(rank)] = std::move(ends[1]);
            }
        }
        group_ = std::make_unique<MeshGroup>(spec, std::move(edges));
    }
    Group& group() { return *group_; }

    /// Writes until all is written or the group has closed the connection. True when all was.
    bool write(int peer, const Bytes& bytes) {
        const int fd = peers_[static_cast<std::size_t>(peer)].get();
        for (std::size_t done = 0; done < bytes.size();) {
            const auto sent = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                done += static_cast<std::size_t>(sent);
                continue;
            }
            // What rank 1 says is drained, so that it is never the one that waits.
            char drained[4096];
            if (::recv(fd, drained, sizeof drained, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EINTR)) {
                return false;
            }
            pollfd entry{.fd = fd, .events = POLLOUT | POLLIN, .revents = 0};
            if (::poll(&entry, 1, Deadline::after(patience).left_ms()) <= 0) {
                return false;
            }
        }
        return true;
    }
    void leave(int peer) { peers_[static_cast<std::size_t>(peer)] = UniqueFd{}; }
    /// Calls `body` on the group while `hostile` writes, and returns how it failed.
    std::optional<GroupFailed> failure(const std::function<void(Group&)>& body, const std::function<void()>& hostile) {
        std::thread other{hostile};
        std::optional<GroupFailed> failure;
        const auto begin = std::chrono::steady_clock::now();
        try {
            body(*group_);
        } catch (const GroupFailed& failed) {
            failure = failed;
        }
        EXPECT_LT(std::chrono::steady_clock::now() - begin, patience / 2) << "found out by the deadline only";
        other.join();
        return failure;
    }
    /// The same with a barrier; the failure must be rank 0's.
    std::string blame(const std::function<void()>& hostile) {
        const auto failed = failure([](Group& group) { group.barrier(); }, hostile);
        if (!failed) {
            return "the barrier was passed";
        }
        EXPECT_EQ(failed->culprit(), 0) << failed->what();
        return failed->what();
    }

private:
    std::vector<UniqueFd> peers_;
    std::unique_ptr<MeshGroup> group_{};
};

const Call first_barrier{.collective = Collective::barrier, .sequence = 1};

Call transfer_with(std::uint64_t tag, std::uint64_t bytes) {
    return {.collective = Collective::transfer, .sequence = tag, .bytes = bytes};
}

bool says(const std::string& text, const char* words) {
    return text.find(words) != std::string::npos;
}

TEST(Member, that_sends_more_than_its_credit_is_named) {
    Besieged besieged;
    std::size_t written = 0;
    const auto text = besieged.blame([&] {
        auto header = FrameHeader{.eager = true,
                                  .call = transfer_with(7, eager_bytes_max),
                                  .message_bytes = eager_bytes_max,
                                  .payload_bytes = eager_bytes_max};
        while (besieged.write(0, frame(header, Bytes(eager_bytes_max)))) {
            ++header.call.detail;
            written += eager_bytes_max;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): sent more than its credit without being asked")) << text;
    EXPECT_LT(written, 64 * credit_bytes) << "it was listened to for long";
}

TEST(Member, that_sends_empty_messages_without_end_is_named) {
    Besieged besieged;
    const auto text = besieged.blame([&] {
        auto header = FrameHeader{.eager = true, .call = transfer_with(7, 0)};
        while (besieged.write(0, frame(header))) {
            ++header.call.detail;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): sent more than its credit")) << text;
}

TEST(Member, that_speaks_of_other_groups_cannot_exceed_its_credit_by_that) {
    Besieged besieged;
    const auto text = besieged.blame([&] {
        auto header = FrameHeader{.eager = true,
                                  .call = first_barrier,
                                  .channel = 1,
                                  .message_bytes = eager_bytes_max,
                                  .payload_bytes = eager_bytes_max};
        while (besieged.write(0, frame(header, Bytes(eager_bytes_max)))) {
            ++header.channel;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): sent more than its credit")) << text;
}

TEST(Member, that_announces_without_end_is_named) {
    Besieged besieged;
    const auto text = besieged.blame([&] {
        auto header =
            FrameHeader{.kind = FrameKind::announce, .call = transfer_with(7, 1U << 30U), .message_bytes = 1U << 30U};
        while (besieged.write(0, frame(header))) {
            ++header.call.detail;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): announces too many messages")) << text;
}

TEST(Member, that_speaks_of_groups_without_end_is_named_and_not_who_comes_after_it) {
    Besieged besieged;
    const auto text = besieged.blame([&] {
        auto header = FrameHeader{
            .kind = FrameKind::announce, .call = transfer_with(7, 1U << 30U), .channel = 1, .message_bytes = 1U << 30U};
        for (int i = 0; i < 1000; ++i) { // Many, and not too many.
            ASSERT_TRUE(besieged.write(0, frame(header)));
            ++header.channel;
        }
        auto innocent = header;
        for (int i = 0; i < 100; ++i) {
            ++innocent.channel;
            ASSERT_TRUE(besieged.write(2, frame(innocent)));
        }
        while (besieged.write(0, frame(header))) {
            ++header.channel;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): speaks of too many groups")) << text;
}

TEST(Member, that_grants_without_end_is_named) {
    Besieged besieged;
    const auto text = besieged.blame([&] {
        auto header = FrameHeader{.kind = FrameKind::grant, .call = first_barrier};
        while (besieged.write(0, frame(header))) {
            ++header.step;
        }
    });
    EXPECT_TRUE(says(text, "rank 0 (gnb-0): grants too many messages")) << text;
}

TEST(Member, that_gives_credit_it_never_took_is_named) {
    for (const std::uint64_t credit : {std::uint64_t{1}, std::uint64_t{UINT64_MAX}}) {
        Besieged besieged;
        const auto text = besieged.blame(
            [&] { besieged.write(0, frame({.kind = FrameKind::credit, .message_bytes = credit_bytes + credit})); });
        EXPECT_TRUE(says(text, "rank 0 (gnb-0): gives more credit than it has taken")) << text;
    }
}

struct Forged {
    const char* name;
    FrameHeader header;
    const char* words;
};

class ForgedData : public testing::TestWithParam<Forged> {};

TEST_P(ForgedData, in_a_barrier_is_named) {
    Besieged besieged;
    const auto& header = GetParam().header;
    const auto text = besieged.blame([&] { besieged.write(0, frame(header, Bytes(header.payload_bytes))); });
    EXPECT_TRUE(says(text, GetParam().words)) << text;
}

INSTANTIATE_TEST_SUITE_P(
    Member,
    ForgedData,
    testing::Values(
        Forged{"StepNeverAskedFor",
               {.call = first_barrier, .step = 77, .message_bytes = 10, .payload_bytes = 10},
               "rank 0 (gnb-0): sent what it was not granted in barrier #1"},
        Forged{"CallNeverAskedFor",
               {.call = {.collective = Collective::broadcast, .sequence = 3}, .message_bytes = 10, .payload_bytes = 10},
               "rank 0 (gnb-0) went on to broadcast #3"},
        Forged{"OffsetBeyondTheMessage",
               {.call = first_barrier, .message_bytes = 10, .offset = 5, .payload_bytes = 10},
               "sent a frame that is no part of its message"},
        Forged{"OffsetThatWrapsAround",
               {.call = first_barrier, .message_bytes = 10, .offset = UINT64_MAX - 4, .payload_bytes = 10},
               "sent a frame that is no part of its message"},
        Forged{"EagerOffsetThatWrapsAround",
               {.eager = true, .call = first_barrier, .message_bytes = 10, .offset = UINT64_MAX, .payload_bytes = 10},
               "sent a frame that is no part of its message"},
        Forged{"EagerPart",
               {.eager = true, .call = first_barrier, .message_bytes = 20, .payload_bytes = 10},
               "sent a frame that is no part of its message"},
        Forged{"EagerTooLarge",
               {.eager = true,
                .call = first_barrier,
                .message_bytes = eager_bytes_max + 1,
                .payload_bytes = eager_bytes_max + 1},
               "sent a frame that is no part of its message"},
        Forged{"BarrierWithBytes",
               {.eager = true, .call = first_barrier, .message_bytes = 10, .payload_bytes = 10},
               "rank 0 (gnb-0) sends 10 bytes in barrier #1, where rank 1 (gnb-1) expects 0"},
        Forged{"HugeAnnouncement",
               {.kind = FrameKind::announce, .call = first_barrier, .message_bytes = UINT64_MAX},
               "rank 0 (gnb-0) sends 18446744073709551615 bytes in barrier #1, where rank 1 (gnb-1) expects 0"},
        Forged{"OlderThanTheFirst",
               {.eager = true, .call = {.collective = Collective::barrier}, .message_bytes = 0},
               "sent a frame out of order in barrier #0"},
        Forged{"AnnouncementOlderThanTheFirst",
               {.kind = FrameKind::announce, .call = {.collective = Collective::barrier}, .message_bytes = 0},
               "announces a message out of order in barrier #0"}),
    [](const auto& forged) { return std::string{forged.param.name}; });

TEST(Member, that_sends_a_granted_message_twice_is_named) {
    Besieged besieged{2};
    const Call call{.collective = Collective::broadcast, .sequence = 1, .bytes = 40'000};
    const auto failed = besieged.failure(
        [](Group& group) {
            Bytes data(40'000);
            group.broadcast(data, 0);
            group.barrier();
        },
        [&] {
            const auto message = frame({.call = call, .message_bytes = 40'000, .payload_bytes = 40'000}, Bytes(40'000));
            besieged.write(0, message);
            besieged.write(0, message);
        });
    ASSERT_TRUE(failed);
    EXPECT_STREQ(failed->what(),
                 "rank 0 (gnb-0): sent a frame out of order in broadcast #1 (root 0, 40000 bytes), in barrier #2");
}

TEST(Member, that_speaks_of_a_group_that_is_gone_costs_nothing) {
    Besieged besieged;
    const std::vector<int> pair{0, 1};
    const auto id = channel_id(0, "gone", pair);
    { const auto sub = besieged.group().subgroup("gone", pair); }
    const auto failed = besieged.failure([](Group& group) { group.barrier(); },
                                         [&] {
                                             auto header = FrameHeader{.eager = true,
                                                                       .call = first_barrier,
                                                                       .channel = id,
                                                                       .message_bytes = eager_bytes_max,
                                                                       .payload_bytes = eager_bytes_max};
                                             besieged.write(0, frame(header, Bytes(eager_bytes_max)));
                                             besieged.write(0, frame({.eager = true, .call = first_barrier}));
                                             besieged.write(2, frame({.eager = true, .call = first_barrier}));
                                         });
    EXPECT_FALSE(failed) << failed->what();
}

TEST(Member, that_left_in_good_order_is_not_missed_by_those_who_only_return_its_credit) {
    Besieged besieged{2};
    constexpr std::size_t messages = 6; // More than half of the credit.
    for (std::uint64_t i = 0; i < messages; ++i) {
        auto call = transfer_with(7, eager_bytes_max);
        call.detail = i;
        ASSERT_TRUE(besieged.write(
            0,
            frame({.eager = true, .call = call, .message_bytes = eager_bytes_max, .payload_bytes = eager_bytes_max},
                  Bytes(eager_bytes_max))));
    }
    besieged.leave(0);
    Bytes data(eager_bytes_max);
    for (std::size_t i = 0; i < messages; ++i) {
        EXPECT_NO_THROW(besieged.group().receive(data, 0, 7)->wait());
    }
    EXPECT_THROW(besieged.group().receive(data, 0, 7)->wait(), GroupFailed);
}

TEST(Member, that_goes_on_without_sending_what_is_expected_is_named_at_once) {
    Besieged besieged;
    const auto failed = besieged.failure(
        [](Group& group) {
            Bytes data(10);
            group.broadcast(data, 0);
        },
        [&] { besieged.write(0, frame({.eager = true, .call = {.collective = Collective::barrier, .sequence = 2}})); });
    ASSERT_TRUE(failed);
    EXPECT_STREQ(failed->what(),
                 "ranks call different collectives: rank 0 (gnb-0) went on to barrier #2 and has not sent what rank 1 "
                 "(gnb-1) expects in broadcast #1 (root 0, 10 bytes)");
}

TEST(Member, whose_large_message_has_another_size_is_named_at_its_announcement) {
    Besieged besieged;
    const Call call{.collective = Collective::all_to_all, .sequence = 1};
    const auto failed = besieged.failure(
        [](Group& group) {
            const std::vector<std::size_t> lengths{100'000, 0, 0};
            Bytes input(100'000);
            Bytes output(100'000);
            group.all_to_all(input, lengths, output, lengths);
        },
        [&] { besieged.write(0, frame({.kind = FrameKind::announce, .call = call, .message_bytes = 90'000})); });
    ASSERT_TRUE(failed);
    EXPECT_STREQ(failed->what(),
                 "rank 0 (gnb-0) sends 90000 bytes in all_to_all #1, where rank 1 (gnb-1) expects 100000");
}

} // namespace
} // namespace muster::collective
