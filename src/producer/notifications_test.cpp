#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

using nlohmann::json;

WriteResult subscribe(TestFleet& fleet, const char* id, json attributes) {
    attributes.emplace("notificationRecipientAddress", "https://consumer.example/notify");
    return fleet.producer->objects().put(
        *nrm::Dn::parse(std::string{"SubNetwork=1,NtfSubscriptionControl="} + id),
        {{"id", id}, {"objectClass", "NtfSubscriptionControl"}, {"attributes", std::move(attributes)}},
        "c");
}

/// Delivers everything and returns the bodies in order.
std::vector<json> deliver(TestFleet& fleet) {
    std::vector<json> bodies;
    for (auto due = fleet.producer->outbox().due(fleet.clock.steady_now()); !due.empty();
         due = fleet.producer->outbox().due(fleet.clock.steady_now())) {
        for (const Notification& notification : due) {
            bodies.push_back(json::parse(notification.body));
            fleet.producer->outbox().delivered(notification.key);
        }
    }
    return bodies;
}

TEST(Notifications, tell_the_life_of_a_request) {
    ThreeFunctions fleet;
    ASSERT_TRUE(subscribe(fleet, "s", json::object()).ok);
    fleet.train();
    fleet.pass(fleet.settings.retention);
    std::map<std::string, int> count;
    std::vector<std::string> statuses;
    std::int64_t sequence = 0;
    for (const json& body : deliver(fleet)) {
        const std::string href = body.at("href");
        ++count[body.at("notificationType").get<std::string>() + " " + href.substr(href.rfind('/') + 1)];
        EXPECT_EQ(body.at("systemDN"), "SubNetwork=1");
        EXPECT_EQ(body.at("sequenceNo"), ++sequence);
        EXPECT_TRUE(body.at("notificationId").is_number_integer());
        if (body.at("notificationType") == "notifyMOIAttributeValueChanges" && href.ends_with("MLTrainingRequest=r1")) {
            statuses.push_back(body.at("attributeListValueChanges").at(0).at("requestStatus"));
            EXPECT_NE(body.at("attributeListValueChanges").at(1).at("requestStatus"), statuses.back());
        }
    }
    EXPECT_EQ(count["notifyMOICreation MLTrainingRequest=r1"], 1);
    EXPECT_EQ(count["notifyMOICreation MLTrainingProcess=r1"], 1);
    EXPECT_EQ(count["notifyMOICreation MLTrainingReport=r1"], 1);
    EXPECT_EQ(count["notifyMOIDeletion MLTrainingRequest=r1"], 1);
    EXPECT_EQ(statuses, (std::vector<std::string>{"IN_PROGRESS", "FINISHED"}));
}

TEST(Notifications, are_limited_by_type_and_scope) {
    ThreeFunctions fleet;
    ASSERT_TRUE(subscribe(fleet, "types", {{"notificationTypes", {"notifyMOICreation"}}}).ok);
    ASSERT_TRUE(subscribe(fleet, "level", {{"scope", {{"scopeType", "BASE_NTH_LEVEL"}, {"scopeLevel", 1}}}}).ok);
    (void)deliver(fleet);
    fleet.train();
    for (const json& body : deliver(fleet)) {
        EXPECT_EQ(body.at("subscriptionId"), "SubNetwork=1,NtfSubscriptionControl=types");
        EXPECT_EQ(body.at("notificationType"), "notifyMOICreation");
    }
}

TEST(Notifications, go_only_to_allowed_https_recipients) {
    TestFleet fleet;
    fleet.start();
    for (const char* bad :
         {"http://consumer.example/n", "https://evil.example/n", "https://consumer.example.evil/n", ""}) {
        const WriteResult result = subscribe(fleet, "s", {{"notificationRecipientAddress", bad}});
        ASSERT_FALSE(result.ok) << bad;
        EXPECT_EQ(result.refusal.problems.at(0).where, "/attributes/notificationRecipientAddress") << bad;
    }
    EXPECT_FALSE(subscribe(fleet, "s", {{"notificationTypes", {"notifyEvent"}}}).ok);
    EXPECT_FALSE(subscribe(fleet, "s", {{"notificationFilter", "x"}}).ok);
    EXPECT_FALSE(subscribe(fleet, "s", {{"scope", {{"scopeType", "BASE_SOME"}}}}).ok);
}

TEST(Notifications, survive_a_restart_and_are_tried_again_more_slowly) {
    ThreeFunctions fleet;
    ASSERT_TRUE(subscribe(fleet, "s", {{"notificationTypes", {"notifyMOICreation"}}}).ok);
    ASSERT_TRUE(fleet.submit().ok);
    const auto before = fleet.producer->outbox().due(fleet.clock.steady_now());
    ASSERT_EQ(before.size(), 1U);
    fleet.restart();
    Outbox& outbox = fleet.producer->outbox();
    const auto after = outbox.due(fleet.clock.steady_now());
    ASSERT_EQ(after.size(), 1U);
    EXPECT_EQ(after.front().body, before.front().body);
    outbox.failed(after.front().key, fleet.clock.steady_now());
    EXPECT_TRUE(outbox.due(fleet.clock.steady_now()).empty());
    fleet.clock.advance(fleet.settings.retry_first);
    EXPECT_EQ(outbox.due(fleet.clock.steady_now()).size(), 1U);
    outbox.failed(after.front().key, fleet.clock.steady_now());
    fleet.clock.advance(fleet.settings.retry_first);
    EXPECT_TRUE(outbox.due(fleet.clock.steady_now()).empty());
}

TEST(Notifications, of_a_dead_subscriber_are_limited_and_go_with_its_subscription) {
    TestFleet fleet;
    fleet.settings.outbox_per_subscription_max = 3;
    fleet.start_three();
    ASSERT_TRUE(subscribe(fleet, "dead", json::object()).ok);
    fleet.train();
    EXPECT_EQ(fleet.producer->outbox().pending(), 3U);
    EXPECT_EQ(fleet.status(), "FINISHED");
    ASSERT_TRUE(fleet.producer->objects().remove(*nrm::Dn::parse("SubNetwork=1,NtfSubscriptionControl=dead"), "c").ok);
    EXPECT_EQ(fleet.producer->outbox().pending(), 0U);
    EXPECT_TRUE(fleet.store.list("outbox", "").empty());
}

} // namespace
} // namespace muster::producer::testing
