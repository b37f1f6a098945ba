/// The notification sender against real HTTPS recipients.
#include "link/notification_sender.h"
#include "rest/server.h"
#include "rest/test_pki.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>

namespace muster::rest {
namespace {

using namespace std::chrono_literals;
using test::Pki;

/// What waits for delivery: a queue for each subscription, oldest first, with a pause after a failure.
class Waiting {
public:
    void add(const std::string& subscription, link::Delivery delivery) {
        const std::scoped_lock lock{mutex_};
        queues_[subscription].push_back(std::move(delivery));
    }
    [[nodiscard]] link::DeliverySource source() {
        return {[this](SteadyTime now) {
                    const std::scoped_lock lock{mutex_};
                    std::vector<link::Delivery> due;
                    for (const auto& [name, queue] : queues_) {
                        if (!queue.empty() && not_before_[queue.front().key] <= now) {
                            due.push_back(queue.front());
                        }
                    }
                    return due;
                },
                [this](const std::string& key) {
                    const std::scoped_lock lock{mutex_};
                    for (auto& [name, queue] : queues_) {
                        std::erase_if(queue, [&](const auto& delivery) { return delivery.key == key; });
                    }
                    delivered_.push_back(key);
                    changed_.notify_all();
                },
                [this](const std::string& key, SteadyTime now) {
                    const std::scoped_lock lock{mutex_};
                    not_before_[key] = now + 20ms;
                    ++failures_[key];
                    changed_.notify_all();
                }};
    }
    [[nodiscard]] bool see_delivered(std::size_t count) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, 10s, [&] { return delivered_.size() >= count; });
    }
    [[nodiscard]] bool see_failures(const std::string& key, int count) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, 10s, [&] { return failures_[key] >= count; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::vector<link::Delivery>> queues_;
    std::map<std::string, SteadyTime> not_before_;
    std::map<std::string, int> failures_;
    std::vector<std::string> delivered_;
};

struct NotificationSenderTest : testing::Test {
    [[nodiscard]] std::unique_ptr<Server> recipient(int status) {
        auto server = std::make_unique<Server>(
            ServerSettings{.address = "127.0.0.1"},
            pki.server(),
            [this, status](const Request& request) {
                const std::scoped_lock lock{mutex};
                bodies.push_back(request.body);
                Response response;
                response.status = status;
                return response;
            },
            Upgrade{});
        EXPECT_TRUE(server->start().ok());
        return server;
    }
    [[nodiscard]] static std::string address(const Server& server) {
        return "https://127.0.0.1:" + std::to_string(server.port());
    }
    void start(std::vector<std::string> allowed) {
        link::NotificationSettings settings;
        settings.recipients = std::move(allowed);
        settings.poll_every = 10ms;
        settings.answer_max = 2s;
        sender = std::make_unique<link::NotificationSender>(
            settings, [context = pki.client(tls::producer_uri("SubNetwork=1"))] { return context; }, waiting.source());
        sender->start();
    }

    Pki pki;
    Waiting waiting;
    std::mutex mutex;
    std::vector<std::string> bodies;
    std::unique_ptr<link::NotificationSender> sender;
};

TEST_F(NotificationSenderTest, delivers_in_order_and_once) {
    const auto server = recipient(204);
    for (int i = 0; i < 50; ++i) {
        waiting.add("s", {"k" + std::to_string(i), address(*server) + "/sink", std::to_string(i)});
    }
    start({address(*server)});
    ASSERT_TRUE(waiting.see_delivered(50));
    sender->stop();
    ASSERT_EQ(bodies.size(), 50U);
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        EXPECT_EQ(bodies[i], std::to_string(i));
    }
}

TEST_F(NotificationSenderTest, lets_a_dead_recipient_disturb_nobody_and_tries_again) {
    const auto good = recipient(204);
    const auto bad = recipient(500);
    auto gone = recipient(204);
    const auto nowhere = address(*gone);
    gone.reset();
    waiting.add("dead", {"dead", nowhere + "/", "x"});
    waiting.add("bad", {"bad", address(*bad) + "/", "x"});
    for (int i = 0; i < 10; ++i) {
        waiting.add("good", {"g" + std::to_string(i), address(*good) + "/", "y"});
    }
    start({address(*good), address(*bad), nowhere});
    EXPECT_TRUE(waiting.see_delivered(10));
    EXPECT_TRUE(waiting.see_failures("dead", 3));
    EXPECT_TRUE(waiting.see_failures("bad", 3));
}

TEST_F(NotificationSenderTest, sends_to_allowed_recipients_with_a_certificate_of_our_authority_only) {
    const Pki other;
    const auto server = recipient(204);
    Server foreign{
        ServerSettings{.address = "127.0.0.1"}, other.server(), [](const Request&) { return Response{}; }, Upgrade{}};
    ASSERT_TRUE(foreign.start().ok());
    waiting.add("a", {"forbidden", address(*server) + "/", "x"});
    waiting.add("b", {"plain", "http://127.0.0.1/", "x"});
    waiting.add("c", {"foreign", address(foreign) + "/", "x"});
    start({address(foreign)});
    EXPECT_TRUE(waiting.see_failures("forbidden", 1));
    EXPECT_TRUE(waiting.see_failures("plain", 1));
    EXPECT_TRUE(waiting.see_failures("foreign", 1));
    sender->stop();
    EXPECT_TRUE(bodies.empty());
}

TEST(AllowedRecipient, ends_at_a_border) {
    const std::vector<std::string> allowed{"https://oss:1/a", "https://x:2/"};
    EXPECT_TRUE(link::is_allowed_recipient("https://oss:1/a", allowed));
    EXPECT_TRUE(link::is_allowed_recipient("https://oss:1/a/b", allowed));
    EXPECT_TRUE(link::is_allowed_recipient("https://oss:1/a?c", allowed));
    EXPECT_TRUE(link::is_allowed_recipient("https://x:2/anything", allowed));
    for (const auto* text : {"https://oss:1/ab", "https://oss:12/a", "https://x:20/", "http://x:2/", ""}) {
        EXPECT_FALSE(link::is_allowed_recipient(text, allowed)) << text;
    }
    EXPECT_FALSE(link::is_allowed_recipient("https://oss:1/a", {})) << "nobody is allowed by default";
}

} // namespace
} // namespace muster::rest
