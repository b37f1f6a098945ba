/// What a lane does with the readiness of its sockets.
#include "collective/lane.h"
#include "plain_connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace muster::collective {
namespace {

constexpr std::size_t frame_bytes = 64U << 10U;
constexpr std::uint64_t channel = 0;
constexpr auto patience = std::chrono::seconds{10};

std::unique_ptr<Lane> lane_of(int rank, int socket) {
    std::vector<std::unique_ptr<Connection>> connections(2);
    connections[static_cast<std::size_t>(1 - rank)] = std::make_unique<bench::PlainConnection>(UniqueFd{socket});
    return std::make_unique<Lane>(std::move(connections), frame_bytes, nullptr);
}

struct Pair {
    Pair() {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
            throw std::system_error{errno, std::generic_category(), "socketpair"};
        }
        left = lane_of(0, ends[0]);
        right = lane_of(1, ends[1]);
        left->begin_call(channel, call);
        right->begin_call(channel, call);
    }
    /// Moves both until `done`. False when that did not happen in time.
    template <typename Done>
    bool move_until(Done done) {
        const auto until = Deadline::after(patience);
        while (!done() && !until.passed()) {
            for (auto* lane : {left.get(), right.get()}) {
                lane->turn(std::chrono::steady_clock::now() + std::chrono::milliseconds{1}, lane->changes());
            }
        }
        return done();
    }

    Call call{.collective = Collective::all_reduce, .sequence = 1, .bytes = 4U << 20U};
    std::unique_ptr<Lane> left{};
    std::unique_ptr<Lane> right{};
};

TEST(Lane, writes_while_it_may_not_read) {
    // As with stripes: what comes on this connection has no place yet, because its reader waits for another one.
    Pair pair;
    const std::vector<std::byte> outgoing(4U << 20U, std::byte{7}); // more than a socket holds
    std::vector<std::byte> incoming(outgoing.size());
    std::vector<std::byte> late(outgoing.size());
    Sending to_left;
    Sending to_right;
    Receiving at_left;
    Receiving at_right;
    pair.left->grant_call(channel, 1, pair.call);
    pair.right->grant_call(channel, 0, pair.call);
    pair.left->receive(at_left, channel, 1, pair.call, 0, incoming);
    pair.left->send(to_right, channel, 1, pair.call, 0, outgoing);
    pair.right->send(to_left, channel, 0, pair.call, 0, outgoing);
    EXPECT_TRUE(pair.move_until([&] { return at_left.done(); }));
    EXPECT_TRUE(incoming == outgoing);
    EXPECT_FALSE(to_right.done());
    pair.right->receive(at_right, channel, 0, pair.call, 0, late);
    EXPECT_TRUE(pair.move_until([&] { return at_right.done() && to_right.done() && to_left.done(); }));
    EXPECT_TRUE(late == outgoing);
}

} // namespace
} // namespace muster::collective
