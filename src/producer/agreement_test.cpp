#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

const std::string first = TestFleet::name(1);
const std::string second = TestFleet::name(2);

TEST(Agreement, trains_on_one_function_without_measuring_a_link) {
    TestFleet fleet;
    fleet.start();
    fleet.add(1);
    fleet.connect(first);
    fleet.run();
    const WriteResult written = fleet.submit();
    ASSERT_TRUE(written.ok) << written.refusal.reason;
    EXPECT_EQ(written.answer.effect, Effect::created);
    EXPECT_EQ(fleet.status(), "NOT_STARTED");
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.progress().value("status", ""), "FINISHED");
    EXPECT_EQ(fleet.functions.at(first).all<Calibrate>().size(), 1U);
    EXPECT_EQ(fleet.leases(), 0U);
}

/// Of a model that is a chain of four blocks, to be split.
nlohmann::json split_recipe() {
    auto recipe = TestFleet::recipe("split");
    recipe["inference"] = "SPLIT";
    recipe["data"] = {{"source", "ue-delay/train"}, {"text", {{"unit", "character"}, {"sequence", 8}}}};
    recipe["model"] = {{"family", "transformer"}, {"layers", 2}, {"width", 16}, {"heads", 2}};
    recipe["loss"] = "cross_entropy";
    recipe["metrics"] = {"log_loss"};
    recipe["distribution"] = {{"strategy", "pipeline"}};
    return recipe;
}

nlohmann::json split_request() {
    auto request = TestFleet::request();
    request["aIMLInferenceName"] = "SPLIT";
    request["performanceRequirements"] = {
        {{"inferenceOutputName", "next_character"}, {"performanceMetric", "log_loss"}, {"performanceScore", 9.0}}};
    return request;
}

/// Two functions of which the second does not hold the data.
class DataAtOne : public TestFleet {
public:
    explicit DataAtOne(const nlohmann::json& recipe = split_recipe(), bool may_leave = true) {
        start();
        EXPECT_TRUE(producer->services().add_recipe(recipe, "admin").ok());
        for (int i = 1; i <= 2; ++i) {
            add(i).blocks = 4;
        }
        functions.at(first).may_leave = may_leave;
        functions.at(second).holds_data = false;
        functions.at(second).seconds_per_row = 1e-6; // by far the better one, was it not for the data
        connect(first);
        connect(second);
        run();
        EXPECT_TRUE(submit(split_request()).ok);
        run();
    }
};

TEST(Agreement, a_function_without_the_data_holds_a_later_stage) {
    DataAtOne fleet;
    const TestFunction& holder = fleet.functions.at(first);
    const TestFunction& other = fleet.functions.at(second);
    ASSERT_EQ(other.all<Propose>().size(), 1U);
    EXPECT_TRUE(other.all<Propose>()[0].sources.empty());
    EXPECT_TRUE(other.all<Propose>()[0].receivers.empty());
    EXPECT_EQ(holder.all<Propose>()[0].sources, std::vector<std::string>{"ue-delay/train"});
    EXPECT_EQ(holder.all<Propose>()[0].receivers, std::vector<std::string>{second});
    EXPECT_FALSE(holder.all<Prepare>()[0].data);
    ASSERT_EQ(other.all<Prepare>().size(), 1U);
    const auto told = other.all<Prepare>()[0].data;
    ASSERT_TRUE(told);
    EXPECT_EQ(told->matrix.digest, "same-matrix");
    EXPECT_EQ(told->training_rows, 18'000);
    EXPECT_EQ(told->preprocessing.target.name, "delay_ms");
    ASSERT_EQ(other.all<Commit>().size(), 1U) << fleet.progress();
    const Roster roster = other.all<Commit>()[0].roster;
    ASSERT_EQ(roster.members.size(), 2U);
    EXPECT_EQ(roster.members[0].dn, first);
    EXPECT_EQ(roster.members[1].dn, second);
    EXPECT_GT(roster.members[1].stage.blocks, roster.members[0].stage.blocks);
    EXPECT_EQ(other.trained.size(), 1U);
    const auto agreed = nlohmann::json::parse(other.all<Commit>()[0].agreement).at("members");
    EXPECT_TRUE(agreed[0].at("holds_data").get<bool>());
    EXPECT_FALSE(agreed[1].at("holds_data").get<bool>());
}

TEST(Agreement, a_plan_that_is_only_asked_for_knows_who_holds_the_data) {
    DataAtOne fleet;
    const auto plan = fleet.producer->services().plan(split_request(), "c");
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    const auto& members = plan->at("candidates").at(plan->at("chosen").get<std::size_t>()).at("members");
    ASSERT_EQ(members.size(), 2U);
    EXPECT_EQ(members[0].at("dn"), first);
    EXPECT_NE(plan->at("why").get<std::string>().find("gnb-1 holds the data"), std::string::npos);
}

TEST(Agreement, asks_none_without_the_data_when_it_may_not_leave) {
    const DataAtOne fleet{split_recipe(), false};
    EXPECT_TRUE(fleet.functions.at(second).all<Propose>().empty());
}

TEST(Agreement, waits_for_the_data_s_description_before_it_asks_others) {
    TestFleet fleet;
    fleet.start();
    ASSERT_TRUE(fleet.producer->services().add_recipe(split_recipe(), "admin").ok());
    for (int i = 1; i <= 2; ++i) {
        fleet.add(i).blocks = 4;
    }
    fleet.functions.at(first).on_prepare = Reply::fail;
    fleet.functions.at(second).holds_data = false;
    fleet.connect(first);
    fleet.connect(second);
    fleet.run();
    ASSERT_TRUE(fleet.submit(split_request()).ok);
    fleet.run();
    EXPECT_TRUE(fleet.functions.at(second).all<Prepare>().empty());
    EXPECT_EQ(fleet.functions.at(second).all<Release>().size(), 1U);
}

TEST(Agreement, a_function_without_the_data_is_not_asked_for_rows) {
    auto recipe = split_recipe();
    recipe["distribution"] = {{"strategy", "data_parallel"}};
    const DataAtOne fleet{recipe};
    EXPECT_TRUE(fleet.functions.at(second).all<Propose>().empty());
}

TEST(Agreement, three_functions_share_by_speed_sign_and_are_reported) {
    ThreeFunctions fleet;
    fleet.train();
    ASSERT_EQ(fleet.status(), "FINISHED");
    const nrm::Dn process = TestFleet::dn("MLTrainingProcess");
    const auto decision = fleet.box(process, "decision");
    EXPECT_EQ(decision.at("chosen"), "data, by speed");
    EXPECT_GE(decision.at("plan").at("candidates").size(), 3U);
    for (const auto& candidate : decision.at("plan").at("candidates")) {
        // 5 epochs and the report score 2000 validation rows, the report 18000 training rows, each a third of a step.
        EXPECT_GT(candidate.at("scoring_seconds").get<double>(), 0.0) << candidate.dump();
        EXPECT_LT(candidate.at("scoring_seconds").get<double>(), candidate.at("total_seconds").get<double>());
    }
    const auto agreement = fleet.box(process, "agreement");
    EXPECT_EQ(agreement.at("signatures").size(), 3U);
    EXPECT_EQ(sha256_hex(agreement.at("agreement").get<std::string>()), agreement.at("plan_digest"));
    const nrm::Dn report = TestFleet::dn("MLTrainingReport");
    const auto participants = fleet.box(report, "participants");
    ASSERT_EQ(participants.at("participants").size(), 3U);
    double share = 0.0;
    for (const auto& entry : participants.at("participants")) {
        share += entry.at("share").get<double>();
        EXPECT_EQ(entry.at("bytes_sent"), 4'000);
    }
    EXPECT_DOUBLE_EQ(share, 1.0);
    EXPECT_GT(participants.at("participants")[0].at("share"), participants.at("participants")[2].at("share"));
    EXPECT_EQ(participants.at("evaluations").size(), 5U);
    const auto attributes = fleet.attributes(report);
    EXPECT_EQ(attributes.at("modelPerformanceValidation")[0].at("performanceScore"), 3.0);
    EXPECT_EQ(attributes.at("trainingProcessRef"), process.text());
    const auto model = nrm::Dn::parse(attributes.at("mLModelGeneratedRef").get<std::string>());
    EXPECT_EQ(fleet.box(*model, "artefact").at("uri"), "https://producer:7443/muster/v1/blobs/" + std::string(64, 'a'));
    EXPECT_EQ(fleet.attributes(process).at("trainingReportRef"), report.text());
    EXPECT_EQ(fleet.leases(), 0U);
    EXPECT_EQ(fleet.times_trained(), 1U);
}

TEST(Agreement, every_job_certificate_names_the_authenticated_function) {
    ThreeFunctions fleet;
    fleet.train();
    for (const auto& [dn, function] : fleet.functions) {
        const Commit commit = function.all<Commit>().at(0);
        const auto info = tls::inspect(commit.certificate);
        ASSERT_TRUE(info.ok());
        EXPECT_EQ(info->identity.role, tls::Role::job);
        EXPECT_EQ(info->identity.name, dn);
        EXPECT_EQ(info->identity.job, commit.job);
    }
}

TEST(Agreement, a_second_job_on_the_same_recipe_is_not_measured_again) {
    ThreeFunctions fleet;
    fleet.train();
    fleet.train("r2");
    EXPECT_EQ(fleet.status("r2"), "FINISHED");
    EXPECT_EQ(fleet.functions.at(first).all<Calibrate>().size(), 1U);
}

TEST(Agreement, a_refusal_leaves_the_others) {
    ThreeFunctions fleet;
    fleet.functions.at(first).on_propose = Reply::refuse;
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
    const auto decision = fleet.box(TestFleet::dn("MLTrainingProcess"), "decision");
    EXPECT_EQ(decision.at("excluded")[0].at("dn"), first);
    EXPECT_EQ(decision.at("excluded")[0].at("code"), "policy_consumer");
}

TEST(Agreement, when_all_refuse_the_request_is_cancelled_with_every_reason) {
    ThreeFunctions fleet;
    for (auto& [dn, function] : fleet.functions) {
        function.on_propose = Reply::refuse;
    }
    fleet.train();
    EXPECT_EQ(fleet.status(), "CANCELLED");
    const std::string result = fleet.progress().value("resultStateInfo", "");
    EXPECT_TRUE(result.starts_with("SYSTEM:")) << result;
    for (const auto& [dn, function] : fleet.functions) {
        EXPECT_NE(result.find(dn), std::string::npos) << result;
    }
    EXPECT_EQ(fleet.leases(), 0U);
    EXPECT_TRUE(fleet.attributes(TestFleet::dn("MLTrainingProcess")).value("mLModelRef", "").empty());
}

TEST(Agreement, a_refusal_for_now_is_asked_again_later) {
    TestFleet fleet;
    fleet.start();
    fleet.add(1).on_propose = Reply::refuse_for_now;
    fleet.connect(first);
    fleet.train();
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    fleet.functions.at(first).on_propose = Reply::yes;
    fleet.pass(seconds{31});
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Agreement, a_function_that_says_busy_because_of_a_stale_job_is_free_once_it_is_released) {
    TestFleet fleet;
    fleet.start();
    fleet.add(1).held = HeldJob{"stale-job", 1, "running"};
    fleet.connect(first);
    fleet.run();
    EXPECT_EQ(fleet.leases(), 0U);
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Agreement, a_counter_offer_limits_the_plan) {
    ThreeFunctions fleet;
    fleet.functions.at(second).on_propose = Reply::counter;
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Agreement, silence_is_noticed_and_the_function_left_out) {
    ThreeFunctions fleet;
    fleet.functions.at(second).on_propose = Reply::silent;
    fleet.train();
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    EXPECT_EQ(fleet.progress().value("progressStateInfo", ""), "AGREEING");
    fleet.pass(fleet.settings.propose_wait);
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Agreement, no_agreement_without_every_signature) {
    struct Case {
        Reply reply;
        milliseconds wait;
    };
    for (const Case& one : {Case{Reply::refuse, milliseconds{0}},
                            Case{Reply::forge, milliseconds{0}},
                            Case{Reply::other_ca, milliseconds{0}},
                            Case{Reply::silent, Settings{}.commit_wait}}) {
        ThreeFunctions fleet;
        fleet.functions.at(second).on_commit = one.reply;
        fleet.train();
        fleet.pass(one.wait);
        EXPECT_EQ(fleet.status(), "FINISHED") << static_cast<int>(one.reply);
        EXPECT_EQ(fleet.functions.at(second).trained.size(), 0U);
        EXPECT_EQ(fleet.functions.at(first).trained.size(), 1U);
        EXPECT_EQ(fleet.functions.at(first).all<Commit>().size(), 2U) << "released and asked again";
        EXPECT_EQ(fleet.leases(), 0U);
    }
}

TEST(Agreement, a_failed_measurement_starts_the_round_again_without_its_function) {
    ThreeFunctions fleet;
    fleet.functions.at(second).on_calibrate = Reply::fail;
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.functions.at(second).trained.size(), 0U);
}

/// What a member says when the connection to another has broken.
std::string lost(const std::string& dn) {
    return "calibration: rank 1 (" + dn + "): connection closed, in all-reduce 4";
}

TEST(Agreement, a_failed_measurement_is_blamed_on_the_crashed_worker_and_not_on_who_spoke_first) {
    ThreeFunctions fleet;
    for (auto& [dn, function] : fleet.functions) {
        function.on_calibrate = Reply::fail;
        function.failure = dn == second ? "worker ended: signal 9 (Killed)" : lost(second);
    }
    ASSERT_TRUE(fleet.submit().ok);
    // In the next round only the one that is to blame would fail again.
    fleet.run_until([&] { return fleet.functions.at(second).all<Calibrate>().size() == 1; });
    fleet.functions.at(first).on_calibrate = Reply::yes;
    fleet.functions.at(TestFleet::name(3)).on_calibrate = Reply::yes;
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_EQ(fleet.functions.at(first).trained.size(), 1U) << "it only told of another's failure";
    EXPECT_EQ(fleet.functions.at(second).trained.size(), 0U);
    const auto decision = fleet.box(TestFleet::dn("MLTrainingProcess"), "decision");
    ASSERT_EQ(decision.at("excluded").size(), 1U) << decision.dump(2);
    EXPECT_EQ(decision.at("excluded")[0].at("dn"), second);
    EXPECT_EQ(decision.at("excluded")[0].at("words"), "worker ended: signal 9 (Killed)");
}

TEST(Agreement, a_member_that_says_nothing_is_waited_for_and_then_blamed_by_the_others) {
    for (const bool commits : {false, true}) {
        ThreeFunctions fleet;
        for (auto& [dn, function] : fleet.functions) {
            (commits ? function.on_commit : function.on_calibrate) = dn == second ? Reply::silent : Reply::fail;
            function.failure = lost(second);
        }
        fleet.train();
        EXPECT_EQ(fleet.functions.at(first).all<Propose>().size(), 1U) << "it may still speak";
        for (auto& [dn, function] : fleet.functions) {
            function.on_calibrate = function.on_commit = Reply::yes;
        }
        fleet.pass(fleet.settings.blame_wait);
        EXPECT_EQ(fleet.status(), "FINISHED") << commits;
        EXPECT_EQ(fleet.functions.at(first).trained.size(), 1U) << commits;
        EXPECT_EQ(fleet.functions.at(second).trained.size(), 0U) << commits;
    }
}

TEST(Agreement, a_function_that_is_revoked_meanwhile_is_left_out_and_the_others_go_on) {
    ThreeFunctions fleet;
    fleet.functions.at(second).on_prepare = Reply::silent;
    fleet.train();
    fleet.functions.at(second).held.reset();
    fleet.revoke(second, "was revoked (stolen)");
    EXPECT_EQ(fleet.status(), "FINISHED");
    const auto decision = fleet.box(TestFleet::dn("MLTrainingProcess"), "decision");
    EXPECT_EQ(decision.at("excluded")[0].at("dn"), second);
    EXPECT_EQ(decision.at("excluded")[0].at("code"), "revoked");
}

TEST(Agreement, bad_data_at_every_function_ends_with_the_reason) {
    ThreeFunctions fleet;
    for (auto& [dn, function] : fleet.functions) {
        function.on_prepare = Reply::fail;
    }
    fleet.train();
    EXPECT_EQ(fleet.status(), "CANCELLED");
    EXPECT_NE(fleet.progress().value("resultStateInfo", "").find("column delay_ms is not there"), std::string::npos);
    EXPECT_EQ(fleet.leases(), 0U);
}

TEST(Agreement, a_function_with_other_data_is_left_out) {
    TestFleet fleet;
    fleet.start();
    for (int i = 1; i <= 3; ++i) {
        fleet.add(i).data_digest = i == 1 ? "other" : "same";
        fleet.connect(TestFleet::name(i));
    }
    fleet.train();
    EXPECT_EQ(fleet.status(), "FINISHED");
    EXPECT_TRUE(fleet.functions.at(first).all<Propose>().empty());
}

TEST(Agreement, no_function_waits_with_a_reason_and_is_then_given_up) {
    TestFleet fleet;
    fleet.start();
    fleet.train();
    EXPECT_EQ(fleet.status(), "IN_PROGRESS");
    EXPECT_EQ(fleet.progress().value("progressStateInfo", ""), "EVALUATING: waiting: no training function is known");
    fleet.pass(fleet.settings.agreement_wait_max);
    EXPECT_EQ(fleet.status(), "CANCELLED");
}

TEST(Agreement, a_function_that_connects_in_time_gets_the_waiting_job) {
    TestFleet fleet;
    fleet.start();
    fleet.train();
    fleet.add(1);
    fleet.connect(first);
    fleet.run();
    EXPECT_EQ(fleet.status(), "FINISHED");
}

TEST(Agreement, a_function_is_in_one_job_at_a_time_and_the_lower_priority_number_goes_first) {
    TestFleet fleet;
    fleet.settings.priority_by_source = {{"urgent", 1}};
    fleet.start();
    fleet.add(1).finishes = false;
    fleet.connect(first);
    fleet.run();
    ASSERT_TRUE(fleet.submit(TestFleet::request(), "r1").ok);
    auto urgent = TestFleet::request();
    urgent["trainingRequestSource"] = "urgent";
    ASSERT_TRUE(fleet.submit(urgent, "r2").ok);
    fleet.run();
    EXPECT_EQ(fleet.attributes(TestFleet::dn("MLTrainingProcess", "r2")).value("priority", 0), 1);
    EXPECT_EQ(fleet.attributes(TestFleet::dn("MLTrainingProcess", "r1")).value("priority", 0), 100);
    EXPECT_EQ(fleet.progress("r2").value("status", ""), "RUNNING");
    EXPECT_EQ(fleet.progress("r1").value("status", ""), "NOT_STARTED");
    fleet.finish(fleet.functions.at(first));
    fleet.run();
    EXPECT_EQ(fleet.status("r2"), "FINISHED");
    EXPECT_EQ(fleet.progress("r1").value("status", ""), "RUNNING");
}

} // namespace
} // namespace muster::producer::testing
