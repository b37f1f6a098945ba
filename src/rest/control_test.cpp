/// The control channel end to end: ProducerClient, TLS, WebSocket, Server, FunctionServer.
#include "link/function_server.h"
#include "link/producer_client.h"
#include "rest/problem.h"
#include "rest/server.h"
#include "rest/test_pki.h"
#include "wire/messages.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace muster::rest {
namespace {

using namespace std::chrono_literals;
using test::Pki;

const std::string gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";

/// Things that happen, in order, waited for with a deadline.
class Diary {
public:
    void write(std::string line) {
        const std::scoped_lock lock{mutex_};
        lines_.push_back(std::move(line));
        changed_.notify_all();
    }
    /// Waits for a line that contains `text` and takes it and all before it.
    [[nodiscard]] bool see(const std::string& text) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, 10s, [&] {
            while (!lines_.empty()) {
                const bool found = lines_.front().find(text) != std::string::npos;
                lines_.pop_front();
                if (found) {
                    return true;
                }
            }
            return false;
        });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> lines_;
};

struct ProducerSide final : FunctionEvents {
    void on_message(const std::string& dn, FromFunction message) override {
        std::string line = std::string{wire::type_of(message)} + " " + dn;
        if (const auto* const released = std::get_if<Released>(&message)) {
            line += " " + released->job;
        }
        diary.write(line);
    }
    void on_lost(const std::string& dn, const std::string& reason) override {
        diary.write("lost " + dn + " " + reason);
    }
    void on_revoked(const std::string& dn, const std::string& reason) override {
        diary.write("revoked " + dn + " " + reason);
    }
    Diary diary;
};

struct FunctionSide final : ProducerEvents {
    Hello make_hello() override { return {.dn = name, .version = "1"}; }
    Heartbeat make_heartbeat() override { return {}; }
    void on_message(ToFunction message) override { diary.write(std::string{wire::type_of(message)}); }
    void on_disconnected(const std::string& reason) override { diary.write("disconnected " + reason); }
    std::string name{gnb};
    Diary diary;
};

/// A producer's port with its control channel. A second one can take over the port of the first.
struct Port {
    Port(const Pki& pki, std::int64_t epoch, std::uint16_t port = 0) {
        links.start(epoch, events);
        server = std::make_unique<Server>(
            ServerSettings{.address = "127.0.0.1", .port = port},
            pki.server(),
            [](const Request&) { return Response{}; },
            [this](const Request& request) -> UpgradeAnswer {
                if (!request.identity || request.identity->role != tls::Role::function) {
                    return problem(403, "PERMISSION_DENIED", "functions only");
                }
                return links.accept(request.identity->name).value();
            });
        const auto deadline = Deadline::after(10s);
        auto started = server->start();
        while (!started && !deadline.passed()) {
            started = server->start();
        }
        EXPECT_TRUE(started.ok());
    }
    ~Port() {
        links.stop();
        server->stop();
    }

    SystemClock clock;
    ProducerSide events;
    link::FunctionServer links{{.heartbeat_busy = 20ms, .heartbeat_idle = 50ms}, clock};
    std::unique_ptr<Server> server;
};

struct Control : testing::Test {
    [[nodiscard]] std::unique_ptr<link::ProducerClient>
    connect(FunctionSide& side, std::uint16_t port, const std::string& uri, std::int64_t epoch_seen = 0) {
        link::ProducerClientSettings settings;
        settings.producer = {"127.0.0.1", port, "/"};
        settings.backoff_first = 5ms;
        settings.backoff_longest = 20ms;
        auto client = std::make_unique<link::ProducerClient>(
            settings, [context = pki.client(uri)] { return context; }, epoch_seen, side);
        client->start();
        return client;
    }
    Pki pki;
};

TEST_F(Control, carries_messages_and_heartbeats_both_ways) {
    Port port{pki, 3};
    FunctionSide side;
    const auto client = connect(side, port.server->port(), tls::function_uri(gnb));
    ASSERT_TRUE(port.events.diary.see("hello " + gnb));
    EXPECT_TRUE(port.links.send(gnb, KeepAlive{{"j"}, 30}).ok());
    EXPECT_TRUE(side.diary.see("keep_alive"));
    EXPECT_TRUE(client->send(Released{"j1"}).ok());
    EXPECT_TRUE(port.events.diary.see("released " + gnb + " j1"));
    EXPECT_TRUE(port.events.diary.see("heartbeat"));
    EXPECT_TRUE(port.events.diary.see("heartbeat"));
    EXPECT_EQ(client->epoch(), 3);
    client->stop(Deadline::after(10s));
    EXPECT_TRUE(port.events.diary.see("lost " + gnb));
}

TEST_F(Control, delivers_what_was_sent_before_the_connection_and_over_a_restart_of_the_producer) {
    FunctionSide side;
    auto port = std::make_unique<Port>(pki, 1);
    const auto number = port->server->port();
    const auto client = connect(side, number, tls::function_uri(gnb));
    EXPECT_TRUE(client->send(Released{"early"}).ok());
    EXPECT_TRUE(port->events.diary.see("released " + gnb + " early"));
    port.reset();
    EXPECT_TRUE(side.diary.see("disconnected"));
    EXPECT_TRUE(client->send(Released{"meanwhile"}).ok());
    port = std::make_unique<Port>(pki, 2, number);
    EXPECT_TRUE(port->events.diary.see("hello"));
    EXPECT_TRUE(port->events.diary.see("released " + gnb + " meanwhile"));
    EXPECT_EQ(client->epoch(), 2);
}

TEST_F(Control, refuses_a_producer_with_an_older_epoch) {
    Port port{pki, 4};
    FunctionSide side;
    const auto client = connect(side, port.server->port(), tls::function_uri(gnb), 5);
    // A second function proves that the port works, and that time has passed.
    FunctionSide other;
    other.name = "SubNetwork=1,MLTrainingFunction=2";
    const auto good = connect(other, port.server->port(), tls::function_uri(other.name));
    ASSERT_TRUE(port.events.diary.see("hello " + other.name));
    EXPECT_FALSE(port.links.connected(gnb));
    EXPECT_EQ(client->epoch(), 5);
}

TEST_F(Control, refuses_a_name_that_is_not_the_certificates) {
    Port port{pki, 1};
    FunctionSide side;
    side.name = "SubNetwork=1,MLTrainingFunction=other";
    const auto client = connect(side, port.server->port(), tls::function_uri(gnb));
    EXPECT_TRUE(side.diary.see("disconnected hello is for"));
    EXPECT_FALSE(port.links.connected(gnb));
}

TEST_F(Control, is_refused_to_consumers_and_to_strangers) {
    Port port{pki, 1};
    FunctionSide side;
    const auto consumer = connect(side, port.server->port(), tls::consumer_uri("oss"));
    const Pki other;
    link::ProducerClientSettings settings;
    settings.producer = {"127.0.0.1", port.server->port(), "/"};
    link::ProducerClient foreign{settings, [&] { return other.client(tls::function_uri(gnb)); }, 0, side};
    foreign.start();
    FunctionSide good;
    const auto client = connect(good, port.server->port(), tls::function_uri(gnb));
    EXPECT_TRUE(port.events.diary.see("hello " + gnb));
    EXPECT_FALSE(consumer->connected());
    EXPECT_FALSE(foreign.connected());
}

TEST_F(Control, replaces_the_first_connection_of_a_function_by_the_second) {
    Port port{pki, 1};
    FunctionSide first;
    FunctionSide second;
    const auto one = connect(first, port.server->port(), tls::function_uri(gnb));
    ASSERT_TRUE(port.events.diary.see("hello"));
    const auto two = connect(second, port.server->port(), tls::function_uri(gnb));
    EXPECT_TRUE(first.diary.see("disconnected replaced"));
}

TEST_F(Control, refuses_a_message_that_does_not_fit_a_frame_and_limits_its_queue) {
    FunctionSide side;
    link::ProducerClientSettings settings;
    settings.producer = {"127.0.0.1", 1, "/"};
    settings.queue_messages_max = 2;
    link::ProducerClient client{settings, [this] { return pki.client(tls::function_uri(gnb)); }, 0, side};
    EXPECT_EQ(client.send(Failed{"j", 1, std::string(300'000, 'x')}).error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(client.send(Released{"a"}).ok());
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(client.send(Progress{.job = "a", .step = i}).ok()) << "newer progress takes the place of older";
    }
    EXPECT_EQ(client.send(Released{"c"}).error().code, ErrorCode::resource_exhausted);
}

} // namespace
} // namespace muster::rest
