#include "link/envelope.h"
#include "link/function_server.h"
#include "wire/messages.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace muster::link {
namespace {

using namespace std::chrono_literals;

const std::string gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";

/// The other end of a socket, in memory.
struct Wire final : MessageSocket {
    bool send(std::string text) override {
        if (full || closed) {
            return false;
        }
        sent.push_back(open_envelope(text).value());
        return true;
    }
    void close(std::string why) override {
        closed = true;
        reason = std::move(why);
    }
    [[nodiscard]] const std::string& peer() const override { return name; }

    std::string name{"192.0.2.1:5"};
    std::vector<Envelope> sent;
    std::string reason;
    bool full{false};
    bool closed{false};
};

/// Remembers what the producer was told.
struct Events final : FunctionEvents {
    void on_message(const std::string& dn, FromFunction message) override {
        heard.push_back(dn + " " + std::string{wire::type_of(message)});
    }
    void on_lost(const std::string& dn, const std::string& reason) override { lost.push_back(dn + " " + reason); }
    void on_revoked(const std::string& dn, const std::string& reason) override { revoked.push_back(dn + " " + reason); }
    std::vector<std::string> heard;
    std::vector<std::string> revoked;
    std::vector<std::string> lost;
};

struct FunctionServerTest : testing::Test {
    FunctionServerTest() { server.start(7, events); }

    struct Peer {
        std::shared_ptr<SocketEvents> session;
        std::shared_ptr<Wire> wire;
        void say(const FromFunction& message, std::int64_t id = 1, std::int64_t epoch = 7) const {
            session->on_text(seal(id, epoch, wire::to_json(message)));
        }
    };
    [[nodiscard]] Peer open(const std::string& dn = gnb) {
        const auto ask = [this]() -> Result<void> {
            return allowed ? Result<void>{} : Error{ErrorCode::permission_denied, "revoked"};
        };
        Peer peer{server.accept(dn, ask).value(), std::make_shared<Wire>()};
        peer.session->on_open(peer.wire);
        return peer;
    }
    [[nodiscard]] Peer join(const std::string& dn = gnb) {
        auto peer = open(dn);
        peer.say(Hello{.dn = dn});
        return peer;
    }

    ManualClock clock;
    Events events;
    bool allowed{true}; ///< whether functions are still let in
    // Its own watcher never looks: the tests do, by step().
    FunctionServer server{{.check_every = 1h}, clock};
};

TEST_F(FunctionServerTest, says_welcome_with_its_epoch_and_waits_for_hello) {
    const auto peer = open();
    ASSERT_EQ(peer.wire->sent.size(), 1U);
    EXPECT_EQ(peer.wire->sent[0].epoch, 7);
    EXPECT_EQ(peer.wire->sent[0].message["type"], "welcome");
    EXPECT_FALSE(server.connected(gnb));
    peer.say(Hello{.dn = gnb});
    EXPECT_TRUE(server.connected(gnb));
    EXPECT_EQ(events.heard, std::vector{gnb + " hello"});
}

TEST_F(FunctionServerTest, refuses_hello_for_another_name_and_messages_before_hello) {
    const auto liar = open();
    liar.say(Hello{.dn = "SubNetwork=1,MLTrainingFunction=2"});
    EXPECT_TRUE(liar.wire->closed);
    const auto rude = open();
    rude.say(Heartbeat{});
    EXPECT_TRUE(rude.wire->closed);
    const auto twice = join();
    twice.say(Hello{.dn = gnb});
    EXPECT_TRUE(twice.wire->closed);
    EXPECT_EQ(events.heard.size(), 1U);
}

TEST_F(FunctionServerTest, refuses_nonsense_other_versions_and_functions_of_a_newer_producer) {
    for (const std::string& text : {std::string{"{"},
                                    std::string{"[]"},
                                    std::string(10'000, '['),
                                    std::string{R"({"v":2,"id":1,"epoch":7,"type":"heartbeat","body":{}})"},
                                    std::string{R"({"v":1,"id":1,"epoch":7,"type":"nonsense","body":{}})"},
                                    std::string{R"({"v":1,"id":1,"epoch":8,"type":"released","body":{"job":"j"}})"}}) {
        const auto peer = join();
        peer.session->on_text(text);
        EXPECT_TRUE(peer.wire->closed) << text.substr(0, 60);
        EXPECT_FALSE(peer.wire->reason.empty());
        peer.session->on_closed("closed");
    }
}

TEST_F(FunctionServerTest, acknowledges_messages_but_not_heartbeats) {
    const auto peer = join();
    peer.say(Released{"j"}, 41);
    peer.say(Heartbeat{}, 0);
    ASSERT_EQ(peer.wire->sent.size(), 2U);
    EXPECT_EQ(peer.wire->sent[1].acknowledged(), 41);
    EXPECT_EQ(events.heard.size(), 3U);
}

TEST_F(FunctionServerTest, sends_to_connected_functions_only) {
    EXPECT_EQ(server.send(gnb, Start{"j", 1}).error().code, ErrorCode::unavailable);
    const auto peer = join();
    EXPECT_TRUE(server.send(gnb, Start{"j", 1}).ok());
    EXPECT_EQ(peer.wire->sent.back().message["type"], "start");
    peer.wire->full = true;
    EXPECT_EQ(server.send(gnb, Start{"j", 1}).error().code, ErrorCode::unavailable);
}

TEST_F(FunctionServerTest, lets_a_second_connection_replace_the_first_after_its_hello) {
    const auto first = join();
    const auto second = open();
    EXPECT_FALSE(first.wire->closed);
    second.say(Hello{.dn = gnb});
    EXPECT_TRUE(first.wire->closed);
    first.session->on_closed("closed");
    EXPECT_TRUE(events.lost.empty());
    EXPECT_TRUE(server.connected(gnb));
    second.session->on_closed("reset");
    EXPECT_EQ(events.lost, std::vector{gnb + " reset"});
}

TEST_F(FunctionServerTest, loses_a_silent_function_sooner_while_it_is_busy) {
    const auto idle = join();
    const auto busy = join("SubNetwork=1,MLTrainingFunction=2");
    Heartbeat heartbeat;
    heartbeat.jobs.push_back({"j", 1, "running"});
    busy.say(heartbeat);
    clock.advance(2'001ms);
    server.step();
    EXPECT_TRUE(busy.wire->closed);
    EXPECT_FALSE(idle.wire->closed);
    clock.advance(5s);
    server.step();
    EXPECT_TRUE(idle.wire->closed);
    EXPECT_EQ(events.lost.size(), 2U);
    idle.session->on_closed("late");
    EXPECT_EQ(events.lost.size(), 2U) << "lost is said once";
}

TEST_F(FunctionServerTest, closes_a_connection_that_never_says_hello) {
    const auto peer = open();
    clock.advance(5'001ms);
    server.step();
    EXPECT_TRUE(peer.wire->closed);
    EXPECT_TRUE(events.lost.empty());
}

TEST_F(FunctionServerTest, ends_a_connection_that_is_no_longer_allowed) {
    const auto peer = join();
    clock.advance(5'001ms);
    server.step();
    EXPECT_FALSE(peer.wire->closed);
    allowed = false;
    peer.say(Heartbeat{});
    clock.advance(5'001ms);
    server.step();
    EXPECT_EQ(peer.wire->reason, "revoked");
    EXPECT_EQ(events.revoked, std::vector{gnb + " revoked"});
    EXPECT_TRUE(events.lost.empty());
}

TEST_F(FunctionServerTest, rechecks_every_connection_at_once_when_asked) {
    const auto peer = join();
    const auto stranger = open("SubNetwork=1,MLTrainingFunction=2");
    server.recheck();
    EXPECT_FALSE(peer.wire->closed);
    allowed = false;
    server.recheck();
    EXPECT_EQ(peer.wire->reason, "revoked");
    EXPECT_EQ(stranger.wire->reason, "revoked");
    EXPECT_FALSE(server.connected(gnb));
    peer.session->on_closed("closed");
    EXPECT_EQ(events.revoked, std::vector{gnb + " revoked"}) << "said once, and nothing of who never said hello";
    EXPECT_TRUE(events.lost.empty());
}

TEST_F(FunctionServerTest, tells_of_a_revoked_function_that_is_not_connected) {
    server.revoke(gnb, "stolen");
    EXPECT_EQ(events.revoked, std::vector{gnb + " stolen"});
    const auto peer = join();
    server.revoke(gnb, "stolen again");
    EXPECT_EQ(peer.wire->reason, "stolen again");
    EXPECT_FALSE(server.connected(gnb));
    EXPECT_EQ(events.revoked.size(), 2U);
}

TEST_F(FunctionServerTest, disconnects_on_demand_and_accepts_nobody_after_stop) {
    const auto peer = join();
    server.disconnect(gnb, "revoked");
    EXPECT_EQ(peer.wire->reason, "revoked");
    const auto other = join();
    server.stop();
    EXPECT_TRUE(other.wire->closed);
    EXPECT_EQ(server.accept(gnb).error().code, ErrorCode::unavailable);
}

} // namespace
} // namespace muster::link
