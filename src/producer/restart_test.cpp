#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

const std::string second = TestFleet::name(2);

void make_good(TestFleet& fleet) {
    for (auto& [dn, function] : fleet.functions) {
        function.on_propose = function.on_prepare = function.on_calibrate = function.on_commit = Reply::yes;
    }
}

TEST(Restart, in_every_phase_trains_exactly_once) {
    using Member = Reply TestFunction::*;
    for (const Member stuck : {&TestFunction::on_propose,
                               &TestFunction::on_prepare,
                               &TestFunction::on_calibrate,
                               &TestFunction::on_commit}) {
        ThreeFunctions fleet;
        fleet.functions.at(second).*stuck = Reply::silent;
        fleet.train();
        ASSERT_EQ(fleet.status(), "IN_PROGRESS");
        make_good(fleet);
        fleet.restart();
        fleet.run();
        EXPECT_EQ(fleet.status(), "FINISHED");
        EXPECT_EQ(fleet.times_trained(), 1U);
        EXPECT_EQ(fleet.leases(), 0U);
    }
}

TEST(Restart, before_the_first_step_keeps_the_request) {
    ThreeFunctions fleet;
    ASSERT_TRUE(fleet.submit().ok);
    fleet.restart();
    EXPECT_EQ(fleet.status(), "NOT_STARTED");
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Restart, adopts_a_running_job) {
    RunningJob fleet;
    fleet.restart();
    fleet.run();
    EXPECT_EQ(fleet.progress().value("status", ""), "RUNNING");
    fleet.finish_all();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Restart, takes_what_was_finished_meanwhile) {
    RunningJob fleet;
    for (auto& [dn, function] : fleet.functions) {
        function.connected = false;
        fleet.finish(function); // nobody hears it
    }
    fleet.restart();
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Restart, sends_start_again_to_a_member_that_did_not_get_it) {
    ThreeFunctions fleet;
    ASSERT_TRUE(fleet.submit().ok);
    fleet.functions.at(second).finishes = false;
    fleet.run();
    fleet.functions.at(second).held->state = "committed"; // as if Start had been lost with the connection
    fleet.functions.at(second).trained.clear();
    fleet.functions.at(second).finishes = true;
    fleet.restart();
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Restart, ends_a_running_job_whose_members_do_not_come_back) {
    RunningJob fleet;
    fleet.restart(false);
    fleet.connect(TestFleet::name(1));
    fleet.run();
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    fleet.pass(fleet.settings.adopt_wait);
    EXPECT_EQ(fleet.status(), "CANCELLED");
    EXPECT_NE(fleet.progress().value("resultStateInfo", "").find(second), std::string::npos);
    EXPECT_FALSE(fleet.functions.at(TestFleet::name(1)).held.has_value());
    fleet.connect(second);
    fleet.run();
    EXPECT_FALSE(fleet.functions.at(second).held.has_value()) << "told that nobody wants the job any more";
}

TEST(Restart, counts_the_epoch_up) {
    TestFleet fleet;
    fleet.start();
    EXPECT_EQ(fleet.producer->epoch(), 1);
    fleet.restart();
    EXPECT_EQ(fleet.producer->epoch(), 2);
}

TEST(Restart, waits_a_moment_for_the_functions_it_knew) {
    TestFleet fleet;
    fleet.settings.gather_wait = seconds{3};
    fleet.start();
    for (int i = 1; i <= 3; ++i) {
        fleet.add(i);
        fleet.connect(TestFleet::name(i));
    }
    fleet.run();
    ASSERT_TRUE(fleet.submit().ok);
    fleet.restart(false);
    fleet.connect(TestFleet::name(3));
    fleet.run();
    EXPECT_TRUE(fleet.functions.at(TestFleet::name(3)).all<Propose>().empty());
    fleet.connect(TestFleet::name(1));
    fleet.connect(second);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.functions.at(TestFleet::name(3)).all<Propose>().at(0).peers.size(), 2U);
}

TEST(Restart, a_store_that_is_down_loses_nothing) {
    ThreeFunctions fleet;
    ASSERT_TRUE(fleet.submit().ok);
    fleet.store.set_down(true);
    EXPECT_THROW(fleet.producer->loop().step(), StoreDown);
    EXPECT_THROW(fleet.submit(TestFleet::request(), "r2"), StoreDown);
    fleet.store.set_down(false);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.status("r2"), "gone");
}

TEST(Restart, an_ended_request_is_deleted_after_the_retention_time_and_its_id_stays_used) {
    ThreeFunctions fleet;
    fleet.train();
    ASSERT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.submit().answer.effect, Effect::unchanged) << "the same PUT again";
    fleet.restart();
    fleet.pass(fleet.settings.retention);
    EXPECT_EQ(fleet.status(), "gone");
    EXPECT_FALSE(fleet.attributes(TestFleet::dn("MLTrainingReport")).empty());
    const WriteResult again = fleet.submit();
    ASSERT_FALSE(again.ok);
    EXPECT_EQ(again.refusal.code, ErrorCode::conflict);
    EXPECT_EQ(again.refusal.problems.at(0).nearest, TestFleet::dn("MLTrainingReport").text());
    EXPECT_NE(again.refusal.reason.find("the same content"), std::string::npos);
    const WriteResult other = fleet.submit(TestFleet::request(1.0));
    EXPECT_NE(other.refusal.reason.find("other content"), std::string::npos);
    fleet.run();
    EXPECT_EQ(fleet.times_trained(), 1U);
}

} // namespace
} // namespace muster::producer::testing
