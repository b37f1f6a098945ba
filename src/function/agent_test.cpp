#include "function/agent_fixture.h"

#include <gtest/gtest.h>

namespace muster::function {
namespace {

using namespace testing; // NOLINT(google-build-using-namespace): the fixture

TEST_F(AgentTest, goes_from_proposal_to_done) {
    reach_committed();
    const Committed& committed = last<Committed>();
    EXPECT_EQ(committed.plan_digest, commit_order().roster.plan_digest);
    EXPECT_TRUE(tls::verify_message(committed.certificate, committed.plan_digest, *from_base64(committed.signature)));
    order(Start{"j1", 1}); // comes before the worker has joined
    const auto started = [&] {
        return std::ranges::count_if(launcher.log.orders,
                                     [](const ToWorker& o) { return std::holds_alternative<WorkerStart>(o); });
    };
    EXPECT_EQ(started(), 0);
    worker_says(WorkerJoined{1});
    EXPECT_EQ(started(), 1);
    worker_says(Progress{.job = "j1", .generation = 1, .step = 1});
    EXPECT_EQ(last<Progress>().step, 1);
    worker_says(Done{.job = "j1", .generation = 1, .model_sha256 = "abc"});
    const Deadline deadline = Deadline::after(std::chrono::seconds{10});
    while (!std::holds_alternative<Done>(link.sent.back()) && !deadline.passed()) {
        agent->step(clock.steady_now());
        std::this_thread::yield();
    }
    EXPECT_EQ(last<Done>().model_sha256, "abc");
    EXPECT_EQ(link.uploads.with([](auto& list) { return list.size(); }), 1U);
    order(Release{"j1", "finished"});
    EXPECT_EQ(last<Released>().job, "j1");
    EXPECT_EQ(launcher.log.alive, 0);
    EXPECT_TRUE(agent->make_heartbeat().jobs.empty());
}

TEST_F(AgentTest, runs_no_program_of_a_user_unless_it_may) {
    prepare_users_model("a program");
    EXPECT_NE(last<Failed>().reason.find("policy.users_models"), std::string::npos) << last<Failed>().reason;
    EXPECT_TRUE(link.downloads.with([](auto& list) { return list.empty(); }));
    EXPECT_EQ(launcher.log.alive, 0);
}

TEST_F(AgentTest, hands_the_program_of_a_user_to_the_worker_and_names_it_when_that_ends) {
    users_models = true;
    agent = make_agent();
    link.program = "a program";
    prepare_users_model(link.program);
    step_until([&] { return launcher.log.alive == 1; });
    EXPECT_GE(launcher.log.limits.program, 0);
    EXPECT_FALSE(std::filesystem::exists(file.string() + ".downloads"));
    agent->on_worker_exit("j1", "signal 31 (Bad system call)");
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason,
              "worker ended: signal 31 (Bad system call) (the model is the archive " +
                  sha256_hex(link.program).substr(0, 12) + ")");
}

TEST_F(AgentTest, starts_no_worker_with_another_program_than_the_recipe_names) {
    users_models = true;
    agent = make_agent();
    link.program = "a grogram";
    prepare_users_model("a program");
    step_until([&] { return std::holds_alternative<Failed>(link.sent.back()); });
    EXPECT_NE(last<Failed>().reason.find("another file"), std::string::npos) << last<Failed>().reason;
    EXPECT_EQ(launcher.log.alive, 0);
}

TEST_F(AgentTest, answers_repeated_orders_with_the_same_answer) {
    order(proposal());
    const Accept first = last<Accept>();
    order(proposal());
    EXPECT_EQ(last<Accept>().csr, first.csr);
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    order(Prepare{"j1", recipe_text});
    EXPECT_EQ(launcher.log.alive, 1);
    EXPECT_EQ(data.memory_bytes, first.memory_bytes) << "reading gets what policy gives the job";
}

TEST_F(AgentTest, refuses_a_second_job_and_a_changed_recipe) {
    order(proposal());
    Propose other = proposal();
    other.job = "j2";
    order(other);
    EXPECT_EQ(last<Refuse>().code, "busy");
    order(Prepare{"j1", R"({"name":"other"})"});
    EXPECT_EQ(last<Failed>().reason, "the recipe is not the one that was proposed");
}

TEST_F(AgentTest, frees_everything_when_the_lease_runs_out) {
    order(proposal());
    clock.advance(std::chrono::seconds{29});
    order(KeepAlive{{"j1"}, 30});
    clock.advance(std::chrono::seconds{29});
    agent->step(clock.steady_now());
    EXPECT_EQ(agent->make_heartbeat().jobs.size(), 1U);
    clock.advance(std::chrono::seconds{2});
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Released>().job, "j1");
    EXPECT_TRUE(agent->make_heartbeat().jobs.empty());
}

TEST_F(AgentTest, a_running_job_outlives_the_producer_for_a_while) {
    reach_committed();
    worker_says(WorkerJoined{1});
    order(Start{"j1", 1});
    agent->on_disconnected("reset");
    agent->step(clock.steady_now());
    clock.advance(std::chrono::seconds{300});
    agent->step(clock.steady_now());
    ASSERT_EQ(agent->make_heartbeat().jobs.size(), 1U);
    EXPECT_EQ(agent->make_hello().jobs[0].state, "running");
    clock.advance(std::chrono::seconds{301});
    agent->step(clock.steady_now());
    EXPECT_TRUE(agent->make_heartbeat().jobs.empty());
}

TEST_F(AgentTest, tells_the_producer_when_data_or_worker_fail) {
    data.result = Error{ErrorCode::invalid_argument, "row 7 has 3 columns", "train.csv"};
    order(proposal());
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason, "data: train.csv: row 7 has 3 columns");
    order(Release{"j1", "failed"});
    data.result = DataProgram::Encoded{"/cache/x", {.digest = "m"}};
    reach_committed();
    agent->on_worker_exit("j1", "signal 9 (Killed)");
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason, "worker ended: signal 9 (Killed)");
    EXPECT_EQ(launcher.log.alive, 0);
}

TEST_F(AgentTest, goes_on_with_a_running_job_after_its_own_restart) {
    reach_committed();
    worker_says(WorkerJoined{1});
    order(Start{"j1", 1});
    restart();
    const Hello hello = agent->make_hello();
    ASSERT_EQ(hello.jobs.size(), 1U);
    EXPECT_EQ(hello.jobs[0].job, "j1");
    EXPECT_EQ(hello.jobs[0].generation, 1);
    EXPECT_EQ(hello.jobs[0].state, "running");
    EXPECT_EQ(agent->epoch_left(), 5);
    agent->step(clock.steady_now());
    ASSERT_FALSE(launcher.log.orders.empty());
    EXPECT_TRUE(std::holds_alternative<WorkerLease>(launcher.log.orders[0])) << "its lease is short";
    worker_says(WorkerJoined{1}); // the last state, said again
    EXPECT_EQ(starts(), 1U) << "the first one may never have left the agent";
    worker_says(Progress{.job = "j1", .generation = 1, .step = 9});
    EXPECT_EQ(last<Progress>().step, 9);
    worker_says(Done{.job = "j1", .generation = 1, .model_sha256 = "abc"});
    step_until([&] { return std::holds_alternative<Done>(link.sent.back()); });
    order(Release{"j1", "finished"});
    EXPECT_EQ(launcher.log.alive, 0);
    EXPECT_FALSE(launcher.log.record);
}

TEST_F(AgentTest, starts_a_job_that_it_had_signed_before_its_restart) {
    reach_committed();
    restart();
    EXPECT_EQ(agent->make_hello().jobs.at(0).state, "committed");
    order(Start{"j1", 1}); // the producer says it again to a member that is not running
    EXPECT_EQ(starts(), 0U);
    worker_says(Calibrated{.job = "j1"}); // the join is under way
    EXPECT_EQ(agent->make_hello().jobs.at(0).state, "committed");
    worker_says(WorkerJoined{1});
    EXPECT_EQ(starts(), 1U);
    EXPECT_EQ(launcher.log.record->state, "running");
    order(commit_order()); // as signed
    EXPECT_EQ(last<Committed>().plan_digest, commit_order().roster.plan_digest);
    order(proposal());
    EXPECT_EQ(last<Refuse>().code, "busy");
}

TEST_F(AgentTest, uploads_after_a_restart_what_its_worker_has_left) {
    reach_committed();
    worker_says(WorkerJoined{1});
    order(Start{"j1", 1});
    link.upload_result = Error{ErrorCode::unavailable, "not yet"};
    launcher.log.record->state = "uploading"; // as killed within the upload
    launcher.log.record->done = Done{.job = "j1", .generation = 1, .model_sha256 = "abc"};
    restart();
    link.upload_result = {};
    agent->on_worker_exit("j1", "it was gone when the agent came back"); // it had done its part
    step_until([&] { return !link.sent.empty(); });
    EXPECT_EQ(last<Done>().model_sha256, "abc");
    EXPECT_EQ(launcher.log.record->state, "done");
    EXPECT_EQ(link.uploads.with([](auto& list) { return list.size(); }), 1U);
    worker_says(Done{.job = "j1", .generation = 1, .model_sha256 = "abc"}); // said again: not uploaded again
    restart();
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Done>().model_sha256, "abc");
    EXPECT_EQ(link.uploads.with([](auto& list) { return list.size(); }), 1U);
}

TEST_F(AgentTest, tells_after_a_restart_that_the_worker_is_gone) {
    reach_committed();
    worker_says(WorkerJoined{1});
    order(Start{"j1", 1});
    restart();
    agent->on_worker_exit("j1", "it was gone when the agent came back");
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason, "worker ended: it was gone when the agent came back");
    EXPECT_EQ(last<Failed>().generation, 1);
    EXPECT_EQ(launcher.log.alive, 0);
    EXPECT_FALSE(launcher.log.record);
}

TEST_F(AgentTest, ends_after_a_restart_what_was_not_signed) {
    order(proposal());
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    ASSERT_EQ(launcher.log.alive, 1);
    restart();
    EXPECT_EQ(launcher.log.alive, 0);
    EXPECT_FALSE(launcher.log.record);
    EXPECT_TRUE(agent->make_hello().jobs.empty());
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().job, "j1");
    reach_committed(); // and is free
}

TEST_F(AgentTest, waits_for_a_producer_after_its_own_restart_as_long_as_after_its) {
    reach_committed();
    worker_says(WorkerJoined{1});
    order(Start{"j1", 1});
    restart();
    clock.advance(std::chrono::seconds{599});
    agent->step(clock.steady_now());
    EXPECT_EQ(launcher.log.alive, 1);
    clock.advance(std::chrono::seconds{2});
    agent->step(clock.steady_now());
    EXPECT_EQ(launcher.log.alive, 0);
}

TEST_F(AgentTest, ignores_orders_to_a_job_that_has_failed) {
    reach_committed();
    worker_says(WorkerJoined{1});
    agent->on_worker_exit("j1", "signal 9 (Killed)");
    order(Start{"j1", 1}); // was on its way
    EXPECT_EQ(last<Failed>().reason, "worker ended: signal 9 (Killed)");
    worker_says(WorkerJoined{1});
    EXPECT_EQ(launcher.log.alive, 0);
}

} // namespace
} // namespace muster::function
