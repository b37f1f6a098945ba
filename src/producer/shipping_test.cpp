/// Rows that are shipped to functions which do not hold them: who is asked, what is agreed, what happens after a cut.
#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

const std::string holder = TestFleet::name(1);
const std::string helper = TestFleet::name(2);
const std::string consumer = "SubNetwork=1,ManagedElement=analytics";

/// A slow function with the data and a fast one without.
class Shipping : public TestFleet {
public:
    explicit Shipping(std::vector<RowGrant> grants) {
        start();
        add(1).rows_may_leave = std::move(grants);
        add(2).holds_data = false;
        functions.at(helper).seconds_per_row = 1e-5;
        functions.at(helper).finishes = false;
        connect(holder);
        connect(helper);
        run();
    }
    [[nodiscard]] const TestFunction& at(const std::string& dn) const { return functions.at(dn); }
    void say_failed(const std::string& dn, const std::string& reason) {
        const HeldJob held = *functions.at(dn).held;
        producer->events().on_message(dn, Failed{held.job, held.generation, reason});
        run();
    }
    [[nodiscard]] std::string state_info() { return progress().value("progressStateInfo", ""); }
};

TEST(ShippedRows, go_where_the_catalogue_lets_them) {
    Shipping fleet{{{.to = helper, .consumer = consumer}}};
    fleet.train();
    const Propose asked = fleet.at(holder).all<Propose>().at(0);
    EXPECT_EQ(asked.row_receivers, std::vector<std::string>{helper});
    EXPECT_TRUE(asked.receivers.empty()) << "a table's model is not split";
    EXPECT_FALSE(asked.receives_rows);
    const Propose offered = fleet.at(helper).all<Propose>().at(0);
    EXPECT_TRUE(offered.receives_rows);
    EXPECT_TRUE(offered.sources.empty() && offered.row_receivers.empty());
    ASSERT_EQ(fleet.at(helper).all<Commit>().size(), 1U) << fleet.progress();
    const Commit commit = fleet.at(helper).all<Commit>()[0];
    ASSERT_EQ(commit.roster.members.size(), 2U);
    for (const RosterMember& member : commit.roster.members) {
        EXPECT_EQ(member.rows_from, member.dn == helper ? holder : "");
        EXPECT_GT(member.batch_rows, 0);
    }
    const auto agreed = nlohmann::json::parse(commit.agreement);
    EXPECT_EQ(agreed.at("sources").at(0).at("name"), "ue-delay/train") << "of the holder, whatever its rank";
    EXPECT_EQ(agreed.at("members").at(1).at("rows_from"), holder);
    EXPECT_FALSE(agreed.at("members").at(1).at("holds_data").get<bool>());
    const auto decision = fleet.box(TestFleet::dn("MLTrainingProcess"), "decision");
    EXPECT_NE(decision.at("why").get<std::string>().find("gnb-1 ships"), std::string::npos)
        << decision.at("why");
    EXPECT_NE(decision.at("data").at("words").get<std::string>().find("deleted at its end"), std::string::npos);
}

TEST(ShippedRows, stay_where_no_grant_fits) {
    for (const RowGrant& grant :
         {RowGrant{.to = "*gnb-3*", .consumer = "*"}, RowGrant{.to = "*", .consumer = "other"}}) {
        Shipping fleet{{grant}};
        fleet.train();
        EXPECT_TRUE(fleet.at(helper).all<Propose>().empty());
        EXPECT_EQ(fleet.status(), "FINISHED") << "the holder alone";
    }
}

TEST(ShippedRows, are_not_for_boosted_trees) {
    Shipping fleet{{{.to = "*", .consumer = "*"}}};
    auto recipe = TestFleet::recipe("trees");
    recipe["model"] = {{"family", "gbdt"}};
    for (const char* key : {"epochs", "batch"}) {
        recipe.erase(key);
    }
    recipe["inference"] = "TREES";
    ASSERT_TRUE(fleet.producer->services().add_recipe(recipe, "admin").ok());
    auto request = TestFleet::request();
    request["aIMLInferenceName"] = "TREES";
    ASSERT_TRUE(fleet.submit(request).ok);
    fleet.run();
    EXPECT_TRUE(fleet.at(helper).all<Propose>().empty());
}

TEST(ShippedRows, are_kept_for_the_next_round_after_a_cut) {
    Shipping fleet{{{.to = "*", .consumer = "*"}}};
    fleet.functions.at(holder).finishes = false;
    fleet.train();
    Progress progress{
        .job = fleet.at(helper).held->job, .generation = 1, .rows_arrived_bytes = 45, .rows_expected_bytes = 100};
    fleet.producer->events().on_message(helper, progress);
    fleet.pass(fleet.settings.progress_every);
    EXPECT_EQ(fleet.state_info(), "SHIPPING rows, 45 %");
    fleet.say_failed(helper, "shipping: rank 0 (gnb-1): the connection was cut");
    ASSERT_EQ(fleet.at(helper).all<Release>().size(), 1U);
    EXPECT_TRUE(fleet.at(helper).all<Release>()[0].keep_rows);
    EXPECT_EQ(fleet.at(helper).all<Commit>().size(), 2U) << "another round with the same functions";
    fleet.functions.at(holder).finishes = fleet.functions.at(helper).finishes = true;
    fleet.say_failed(holder, "shipping: rank 1 (gnb-2): the connection was cut again");
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_FALSE(fleet.at(helper).all<Release>().back().keep_rows) << "deleted at the end";
}

TEST(ShippedRows, are_given_up_when_every_round_is_cut) {
    Shipping fleet{{{.to = "*", .consumer = "*"}}};
    fleet.functions.at(holder).finishes = false;
    fleet.train();
    for (std::size_t round = 0; round < fleet.settings.attempts_max && fleet.status() != "CANCELLED"; ++round) {
        fleet.say_failed(helper, "shipping: cut");
    }
    EXPECT_EQ(fleet.status(), "CANCELLED");
    EXPECT_FALSE(fleet.at(helper).all<Release>().empty());
}

TEST(ShippedRows, are_no_reason_to_begin_again_once_the_training_has_begun) {
    Shipping fleet{{{.to = "*", .consumer = "*"}}};
    fleet.functions.at(holder).finishes = false;
    fleet.train();
    fleet.producer->events().on_message(
        holder, Progress{.job = fleet.at(holder).held->job, .generation = 1, .step = 3, .steps = 90});
    fleet.run();
    fleet.say_failed(helper, "worker ended: killed by signal 9");
    EXPECT_EQ(fleet.status(), "CANCELLED");
}

} // namespace
} // namespace muster::producer::testing
