#include "producer/test_fleet.h"

#include <functional>
#include <limits>

namespace muster::producer::testing {
namespace {

const std::string first = TestFleet::name(1);
const std::string second = TestFleet::name(2);

Progress progress_of(const TestFunction& function, std::int64_t step, double loss = 1.0) {
    return {.job = function.held->job,
            .generation = function.held->generation,
            .step = step,
            .steps = 100,
            .epoch = 0,
            .loss = loss,
            .rows_per_second = 1'000.0};
}

void expect_given_up(TestFleet& fleet, const std::string& reason) {
    EXPECT_EQ(fleet.status(), "CANCELLED");
    EXPECT_EQ(fleet.progress().value("status", ""), "CANCELLED");
    EXPECT_NE(fleet.progress().value("resultStateInfo", "").find(reason), std::string::npos) << fleet.progress().dump();
    EXPECT_EQ(fleet.leases(), 0U);
    EXPECT_TRUE(fleet.attributes(TestFleet::dn("MLTrainingReport")).empty());
    const auto models = fleet.producer->objects().read(*nrm::Dn::parse("SubNetwork=1,MLModelRepository=1"),
                                                       {.type = nrm::ScopeType::base_all});
    EXPECT_EQ(models->size(), 1U) << "no model is left behind";
}

TEST(Training, shows_progress_at_most_once_a_second) {
    RunningJob fleet;
    const TestFunction& function = fleet.functions.at(first);
    fleet.clock.advance(seconds{10});
    fleet.say(function, progress_of(function, 10));
    fleet.run();
    EXPECT_EQ(fleet.progress().at("progressPercentage"), 10);
    EXPECT_TRUE(fleet.progress()
                    .value("progressStateInfo", "")
                    .starts_with("TRAINING SubNetwork=1,MLModelRepository=1,MLModel="));
    fleet.say(function, progress_of(function, 20));
    fleet.pass(milliseconds{500});
    EXPECT_EQ(fleet.progress().at("progressPercentage"), 10);
    fleet.pass(milliseconds{500});
    EXPECT_EQ(fleet.progress().at("progressPercentage"), 20);
    const auto box = fleet.box(TestFleet::dn("MLTrainingProcess"), "progress");
    EXPECT_EQ(box.at("step"), 20);
    EXPECT_EQ(box.at("members").size(), 3U);
    EXPECT_GT(box.at("eta_seconds").get<double>(), 0.0);
}

TEST(Training, of_boosted_trees_begins_again_without_a_function_that_is_lost) {
    TestFleet fleet;
    fleet.start();
    auto trees = TestFleet::recipe();
    trees.erase("batch");
    trees.erase("epochs");
    trees["model"] = {{"family", "gbdt"}, {"trees", 50}};
    trees["distribution"] = {{"strategy", "data_parallel"}};
    ASSERT_TRUE(fleet.producer->services().add_recipe({{"recipe", trees}, {"replace", true}}, "admin").ok());
    for (int i = 1; i <= 3; ++i) {
        fleet.add(i).finishes = false;
        fleet.connect(TestFleet::name(i));
    }
    fleet.train();
    EXPECT_EQ(fleet.progress().value("status", ""), "RUNNING") << fleet.progress().dump();
    EXPECT_EQ(fleet.attributes(TestFleet::dn("MLTrainingProcess")).value("terminationConditions", ""), "trees=50");
    fleet.functions.at(second).held.reset();
    fleet.lose(second);
    for (auto& [dn, function] : fleet.functions) {
        function.finishes = true;
    }
    fleet.pass(fleet.settings.reconnect_wait + seconds{1});
    EXPECT_EQ(fleet.status(), "FINISHED") << fleet.progress().dump();
    const auto members = fleet.box(TestFleet::dn("MLTrainingReport"), "participants").at("participants");
    EXPECT_EQ(members.size(), 2U) << members.dump();
    EXPECT_EQ(fleet.leases(), 0U);
}

TEST(Training, a_failed_function_ends_the_job_with_its_reason) {
    RunningJob fleet;
    const TestFunction& function = fleet.functions.at(second);
    fleet.say(function, Failed{function.held->job, 1, "worker killed by signal 9"});
    fleet.run();
    expect_given_up(fleet, second + ": worker killed by signal 9");
}

TEST(Training, a_revoked_function_ends_the_job_at_once_with_that_reason) {
    RunningJob fleet;
    fleet.functions.at(second).held.reset(); // it is shut out, so nobody can tell it
    fleet.revoke(second, "was revoked (stolen)");
    expect_given_up(fleet, second + ": was revoked (stolen)");
}

TEST(Training, a_function_that_is_revoked_while_it_is_away_is_not_waited_for) {
    RunningJob fleet;
    fleet.lose(second);
    EXPECT_EQ(fleet.progress().value("status", ""), "RUNNING");
    fleet.functions.at(second).held.reset();
    fleet.revoke(second, "was revoked (stolen)");
    expect_given_up(fleet, "was revoked (stolen)");
}

TEST(Training, a_function_that_is_done_and_then_revoked_ends_the_job_too) {
    RunningJob fleet;
    fleet.finish(fleet.functions.at(second));
    fleet.run();
    fleet.functions.at(second).held.reset();
    fleet.revoke(second, "was revoked (stolen)");
    expect_given_up(fleet, "was revoked (stolen)");
}

TEST(Training, a_loss_that_is_not_finite_ends_the_job) {
    RunningJob fleet;
    const TestFunction& function = fleet.functions.at(first);
    fleet.say(function, progress_of(function, 3, std::numeric_limits<double>::quiet_NaN()));
    fleet.run();
    expect_given_up(fleet, "the loss is not finite");
}

TEST(Training, a_lost_function_may_come_back_in_time) {
    RunningJob fleet;
    fleet.lose(second);
    fleet.pass(fleet.settings.reconnect_wait / 2);
    fleet.connect(second);
    fleet.pass(fleet.settings.reconnect_wait);
    EXPECT_EQ(fleet.progress().value("status", ""), "RUNNING");
    fleet.finish_all();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Training, a_function_that_stays_lost_ends_the_job) {
    RunningJob fleet;
    fleet.lose(second);
    fleet.pass(fleet.settings.reconnect_wait);
    EXPECT_EQ(fleet.status(), "CANCELLED");
    fleet.connect(second); // and is told to drop the job when it is back
    fleet.run();
    expect_given_up(fleet, second + " was lost");
}

TEST(Training, a_function_that_comes_back_without_the_job_ends_it) {
    RunningJob fleet;
    fleet.lose(second);
    fleet.functions.at(second).held.reset();
    fleet.connect(second);
    fleet.run();
    expect_given_up(fleet, "does not hold the job any more");
}

TEST(Training, a_function_that_leaves_by_itself_ends_the_job) {
    RunningJob fleet;
    TestFunction& function = fleet.functions.at(second);
    const std::string job = function.held->job;
    function.held.reset();
    fleet.say(function, Released{job});
    fleet.run();
    expect_given_up(fleet, "has left the job");
}

TEST(Training, unmet_requirements_finish_with_a_remark) {
    ThreeFunctions fleet;
    fleet.functions.at(first).validation_mae = 4.0;
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.progress().value("resultStateInfo", ""), "REQUIREMENTS_NOT_MET: MAE 4 instead of 3.6");
    EXPECT_FALSE(fleet.attributes(TestFleet::dn("MLTrainingReport")).empty());
}

TEST(Training, members_that_end_with_different_parameters_publish_nothing) {
    ThreeFunctions fleet;
    fleet.functions.at(second).parameters = "others";
    fleet.train();
    expect_given_up(fleet, "different parameters");
}

TEST(Training, a_member_that_never_finishes_ends_the_job) {
    RunningJob fleet;
    fleet.finish(fleet.functions.at(first));
    fleet.run();
    fleet.pass(fleet.settings.finish_wait);
    expect_given_up(fleet, "not every function finished");
}

TEST(Training, leases_are_kept_alive) {
    RunningJob fleet;
    const std::size_t before = fleet.functions.at(first).all<KeepAlive>().size();
    fleet.pass(fleet.settings.keep_alive_every);
    const auto messages = fleet.functions.at(first).all<KeepAlive>();
    ASSERT_EQ(messages.size(), before + 1);
    EXPECT_EQ(messages.back().jobs, std::vector{fleet.functions.at(first).held->job});
}

TEST(Training, can_be_cancelled_in_every_phase) {
    struct Case {
        const char* phase;
        std::function<void(TestFleet&)> arrange;
    };
    const auto stuck = [](auto member) {
        return [member](TestFleet& fleet) { fleet.functions.at(second).*member = Reply::silent; };
    };
    const std::vector<Case> cases{
        {"EVALUATING: waiting: ",
         [](TestFleet& fleet) {
             for (auto& [dn, function] : fleet.functions) {
                 fleet.lose(dn);
             }
         }},
        {"AGREEING", stuck(&TestFunction::on_propose)},
        {"PREPARING", stuck(&TestFunction::on_prepare)},
        {"CALIBRATING", stuck(&TestFunction::on_calibrate)},
        {"COMMITTING", stuck(&TestFunction::on_commit)},
        {"TRAINING", [](TestFleet& fleet) { fleet.functions.at(second).finishes = false; }},
    };
    for (const Case& one : cases) {
        ThreeFunctions fleet;
        one.arrange(fleet);
        fleet.train();
        EXPECT_TRUE(fleet.progress().value("progressStateInfo", "").starts_with(one.phase)) << fleet.progress().dump();
        const WriteResult written = fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"cancelRequest", true}});
        ASSERT_TRUE(written.ok) << written.refusal.reason;
        EXPECT_EQ(fleet.status(), "CANCELLING");
        fleet.run();
        expect_given_up(fleet, "CONSUMER: cancelled");
    }
}

TEST(Training, is_cancelled_through_the_process_as_well) {
    RunningJob fleet;
    ASSERT_TRUE(fleet.patch(TestFleet::dn("MLTrainingProcess"), {{"cancelProcess", true}}).ok);
    fleet.run();
    expect_given_up(fleet, "CONSUMER: cancelled");
}

TEST(Training, a_request_suspended_before_it_starts_is_held_and_resumed) {
    ThreeFunctions fleet;
    auto held = TestFleet::request();
    held["suspendRequest"] = true;
    ASSERT_TRUE(fleet.submit(held).ok);
    fleet.run();
    EXPECT_EQ(fleet.status(), "SUSPENDED");
    EXPECT_EQ(fleet.leases(), 0U);
    ASSERT_TRUE(fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"suspendRequest", false}}).ok);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Training, a_request_suspended_during_agreement_releases_everybody) {
    ThreeFunctions fleet;
    fleet.functions.at(second).on_commit = Reply::silent;
    fleet.train();
    ASSERT_TRUE(fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"suspendRequest", true}}).ok);
    fleet.run();
    EXPECT_EQ(fleet.status(), "SUSPENDED");
    EXPECT_EQ(fleet.progress().value("status", ""), "SUSPENDED");
    EXPECT_EQ(fleet.leases(), 0U);
    fleet.functions.at(second).on_commit = Reply::yes;
    ASSERT_TRUE(fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"suspendRequest", false}}).ok);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Training, a_running_one_cannot_be_suspended_yet) {
    RunningJob fleet;
    const WriteResult written = fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"suspendRequest", true}});
    EXPECT_FALSE(written.ok);
    EXPECT_EQ(written.refusal.code, ErrorCode::conflict);
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
}

} // namespace
} // namespace muster::producer::testing
