#include "producer/test_fleet.h"
#include "wire/agreement.h"

#include <gtest/gtest.h>

namespace muster::producer::testing {
namespace {

const std::string first = TestFleet::name(1);
const std::string second = TestFleet::name(2);
const std::string third = TestFleet::name(3);

/// Three sites with rows of their own, 9 000, 18 000 and 27 000 of them, as their catalogues say.
class ThreeSites final : public TestFleet {
public:
    explicit ThreeSites(MissingRows missing = MissingRows::wait, bool pinned = true) {
        settings.missing_rows = missing;
        start();
        for (int i = 1; i <= 3; ++i) {
            TestFunction& site = add(i);
            site.data_digest = "data " + std::to_string(i);
            site.matrix_digest = "matrix " + std::to_string(i);
            site.pinned = pinned;
            site.training_rows = 9'000 * i;
            site.target.values = 9'000 * i;
            site.target.mean = 10.0 * i;
        }
        for (const std::string& dn : {first, second, third}) {
            connect(dn);
        }
    }
    void train_without_end() {
        for (auto& [dn, function] : functions) {
            function.finishes = false;
        }
        train();
        EXPECT_EQ(progress().value("status", ""), "RUNNING");
    }
    /// A site is gone with all that it held, and the others' workers end with it.
    void lose_for_good(const std::string& dn) {
        functions.at(dn).held.reset();
        functions.at(dn).finishes = true;
        lose(dn);
    }
    nlohmann::json decision() { return box(dn("MLTrainingProcess"), "decision"); }
};

TEST(Pinned, rows_are_trained_on_by_all_sites_in_proportion_and_encoded_by_what_all_say) {
    ThreeSites fleet;
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED") << fleet.progress().dump();
    for (const auto& [dn, site] : fleet.functions) {
        const auto proposals = site.all<Propose>();
        ASSERT_EQ(proposals.size(), 1U);
        EXPECT_EQ(proposals[0].layout, DataLayout::pinned);
        EXPECT_TRUE(proposals[0].receivers.empty()) << "no row leaves";
        const auto orders = site.all<Prepare>();
        ASSERT_EQ(orders.size(), 2U);
        EXPECT_FALSE(orders[0].preprocessing.has_value());
        EXPECT_FALSE(orders[0].data.has_value() || orders[1].data.has_value());
        ASSERT_TRUE(orders[1].preprocessing.has_value());
        EXPECT_NEAR(orders[1].preprocessing->target.mean, (10.0 + 2 * 20.0 + 3 * 30.0) / 6, 1e-9);
    }
    const Commit commit = fleet.functions.at(first).all<Commit>().back();
    EXPECT_EQ(commit.roster.layout, DataLayout::pinned);
    const auto agreement = wire::agreement_from_text(commit.agreement);
    ASSERT_TRUE(agreement.ok());
    EXPECT_EQ(agreement->layout, "pinned");
    EXPECT_EQ(agreement->matrix_digest, "");
    ASSERT_EQ(agreement->members.size(), 3U);
    EXPECT_EQ(agreement->members[0].batch_rows, 167);
    EXPECT_EQ(agreement->members[1].batch_rows, 333);
    EXPECT_EQ(agreement->members[2].batch_rows, 500) << "whatever its speed";
    EXPECT_EQ(agreement->members[2].rows, 27'000);
    EXPECT_EQ(agreement->members[2].matrix_digest, "matrix 3");
    EXPECT_EQ(agreement->steps, 5 * 54);
    EXPECT_EQ(fleet.decision().at("data").at("layout"), "pinned");
    EXPECT_EQ(fleet.box(TestFleet::dn("MLTrainingReport"), "participants").at("rows_missing"), nlohmann::json::array());
}

TEST(Pinned, is_what_the_recipe_has_to_say_where_catalogues_do_not) {
    ThreeSites fleet{MissingRows::wait, false};
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.decision().at("data").at("layout"), "whole");
    EXPECT_NE(fleet.decision().dump().find("write data.layout: pinned in the recipe"), std::string::npos);
}

TEST(Pinned, rows_of_a_site_that_is_away_are_waited_for) {
    ThreeSites fleet;
    fleet.lose(second);
    fleet.train();
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    EXPECT_NE(fleet.progress().value("progressStateInfo", "").find(second + " not connected"), std::string::npos);
    fleet.pass(fleet.settings.agreement_wait_max + seconds{1});
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    fleet.connect(second);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Pinned, rows_of_a_site_that_stays_away_or_refuses_end_the_job_with_its_name) {
    ThreeSites away;
    away.lose(second);
    away.train();
    away.pass(away.settings.holder_wait_max + seconds{1});
    EXPECT_EQ(away.status(), "CANCELLED");
    EXPECT_NE(away.progress().value("resultStateInfo", "").find(second), std::string::npos);
    ThreeSites refuses;
    refuses.functions.at(third).on_propose = Reply::refuse;
    refuses.train();
    EXPECT_EQ(refuses.status(), "CANCELLED");
    EXPECT_NE(refuses.progress().value("resultStateInfo", "").find("policy_consumer"), std::string::npos)
        << refuses.progress().dump();
    EXPECT_EQ(refuses.leases(), 0U);
}

TEST(Pinned, rows_of_a_site_that_is_lost_in_training_suspend_the_job_until_it_is_back) {
    ThreeSites fleet;
    fleet.train_without_end();
    fleet.lose_for_good(second);
    EXPECT_EQ(fleet.progress().value("status", ""), "RUNNING") << "it may come back";
    for (auto& [dn, function] : fleet.functions) {
        function.finishes = true;
    }
    fleet.pass(fleet.settings.reconnect_wait + seconds{1});
    EXPECT_EQ(fleet.progress().value("status", ""), "SUSPENDED") << fleet.progress().dump();
    EXPECT_TRUE(fleet.progress().value("resultStateInfo", "").starts_with("SYSTEM: " + second));
    EXPECT_EQ(fleet.leases(), 0U);
    fleet.restart(false);
    for (const std::string& dn : {first, third}) {
        fleet.connect(dn);
    }
    fleet.run();
    EXPECT_EQ(fleet.progress().value("status", ""), "SUSPENDED") << "a restart changes nothing";
    fleet.connect(second);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED") << fleet.progress().dump();
    EXPECT_EQ(fleet.functions.at(second).trained.size(), 2U);
}

TEST(Pinned, rows_of_a_site_whose_peer_sees_it_first_suspend_the_job_too) {
    ThreeSites fleet;
    fleet.train_without_end();
    TestFunction& other = fleet.functions.at(first);
    fleet.say(other, Failed{other.held->job, 1, "rank 1 (" + second + ") was lost: broken pipe"});
    for (auto& [dn, function] : fleet.functions) {
        function.finishes = true;
    }
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED") << "all were still there";
    ThreeSites fails;
    fails.train_without_end();
    fails.say(fails.functions.at(first),
              Failed{fails.functions.at(first).held->job, 1, "loss is not a number at step 3"});
    fails.run();
    EXPECT_EQ(fails.status(), "CANCELLED") << "it would be none again";
}

TEST(Pinned, rows_of_a_lost_site_are_done_without_where_the_producer_is_told_so_and_the_report_says_it) {
    ThreeSites fleet{MissingRows::go_on};
    fleet.train_without_end();
    fleet.lose_for_good(second);
    for (auto& [dn, function] : fleet.functions) {
        function.finishes = true;
    }
    fleet.pass(fleet.settings.reconnect_wait + seconds{1});
    EXPECT_EQ(fleet.status(), "FINISHED") << fleet.progress().dump();
    EXPECT_EQ(fleet.box(TestFleet::dn("MLTrainingReport"), "participants").at("rows_missing"),
              nlohmann::json::array({second}));
}

TEST(Pinned, rows_cannot_be_asked_for_a_score_that_takes_the_order_of_all) {
    ThreeSites fleet;
    nlohmann::json recipe = TestFleet::recipe("late");
    recipe["data"]["layout"] = "pinned";
    recipe["loss"] = "binary_cross_entropy";
    recipe["metrics"] = {"accuracy"};
    ASSERT_TRUE(fleet.producer->services().add_recipe(recipe, "admin").ok());
    nlohmann::json request = TestFleet::request();
    request["aIMLInferenceName"] = "muster:late";
    nlohmann::json& wanted = request["performanceRequirements"][0];
    wanted["performanceMetric"] = "accuracy";
    wanted["performanceScore"] = 90.0;
    EXPECT_TRUE(fleet.submit(request, "accurate").ok);
    wanted["performanceMetric"] = "AUC";
    const WriteResult written = fleet.submit(request, "ordered");
    ASSERT_FALSE(written.ok);
    EXPECT_EQ(written.refusal.problems.at(0).where, "/attributes/performanceRequirements/0/performanceMetric");
}

TEST(Pinned, rows_of_other_columns_are_refused_with_site_and_difference) {
    ThreeSites fleet;
    fleet.functions.at(third).target = {
        .name = "delay_ms", .kind = ColumnKind::category, .values = 40, .categories = {{"slow", 20}, {"fast", 20}}};
    fleet.train();
    EXPECT_EQ(fleet.status(), "CANCELLED");
    const std::string reason = fleet.progress().value("resultStateInfo", "");
    EXPECT_NE(reason.find("a number at " + first), std::string::npos) << reason;
    EXPECT_NE(reason.find(third), std::string::npos) << reason;
}

} // namespace
} // namespace muster::producer::testing
