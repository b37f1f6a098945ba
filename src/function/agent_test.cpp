#include "base/digest.h"
#include "function/agent.h"
#include "tls/identity.h"
#include "wire/agreement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace muster::function {
namespace {

const std::string own_dn = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
const std::string recipe_text = R"({"name":"r"})";

class RecordingLink final : public ProducerLink {
public:
    Result<void> send(const FromFunction& message) override {
        sent.push_back(message);
        return {};
    }
    Result<void> upload(const std::filesystem::path& file, const std::string& sha256, Deadline /*deadline*/) override {
        uploads.with([&](auto& list) { list.push_back(file.string() + " " + sha256); });
        return upload_result;
    }
    std::vector<FromFunction> sent;
    Guarded<std::vector<std::string>> uploads;
    Result<void> upload_result;
};

/// A worker that remembers what it was told.
struct WorkerLog {
    std::vector<ToWorker> orders;
    int alive{0};
    WorkerEvents* events{nullptr};
};

class LoggedWorker final : public WorkerProcess {
public:
    explicit LoggedWorker(WorkerLog& log) : log_{log} { ++log_.alive; }
    ~LoggedWorker() override { --log_.alive; }
    Result<void> send(const ToWorker& message) override {
        log_.orders.push_back(message);
        return {};
    }
    [[nodiscard]] std::filesystem::path model_file() const override { return "model.pt"; }

private:
    WorkerLog& log_;
};

class FixedListener final : public PeerListener {
public:
    [[nodiscard]] std::vector<std::string> addresses() const override { return {"127.0.0.1:4000"}; }
};

class LoggedLauncher final : public WorkerLauncher {
public:
    Result<std::unique_ptr<PeerListener>> listen(const std::string& /*job*/) override {
        return std::unique_ptr<PeerListener>{std::make_unique<FixedListener>()};
    }
    Result<std::unique_ptr<WorkerProcess>> start(const std::string& /*job*/,
                                                 const std::filesystem::path& /*matrix*/,
                                                 const WorkerLimits& /*limits*/,
                                                 PeerListener& /*listener*/,
                                                 WorkerEvents& events) override {
        log.events = &events;
        return std::unique_ptr<WorkerProcess>{std::make_unique<LoggedWorker>(log)};
    }
    WorkerLog log;
};

class InstantData final : public DataProgram {
public:
    void encode(const std::string& /*recipe*/,
                const std::filesystem::path& /*train*/,
                const std::optional<std::filesystem::path>& /*test*/,
                Deadline /*deadline*/,
                Callback done) override {
        done(result);
    }
    Result<Encoded> result = Encoded{"/cache/x", {.rows = 10, .columns = 3, .digest = "m"}};
};

class AgentTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::ofstream{file} << "a,b\n1,2\n";
        tls::KeyPair root =
            tls::Authority::make_root("operator", std::chrono::hours{1}, std::chrono::system_clock::now());
        identity = *tls::Authority::open(root)->issue(
            {.uri = tls::function_uri(own_dn), .lifetime = std::chrono::hours{1}}, std::chrono::system_clock::now());
        agent = std::make_unique<Agent>(
            AgentSettings{.dn = own_dn, .version = "test"},
            Catalogue{{{.name = "d/train", .file = file}}},
            Agent::World{clock,
                         link,
                         launcher,
                         data,
                         [] { return Capacity{.cpu_cores = 1.0, .memory_bytes = 1'000'000'000}; },
                         [this] { return identity; }});
    }
    void TearDown() override { std::filesystem::remove(file); }

    void order(ToFunction message) {
        agent->on_message(std::move(message));
        agent->step(clock.steady_now());
    }
    void worker_says(FromWorker message) {
        agent->on_worker_message("j1", std::move(message));
        agent->step(clock.steady_now());
    }
    template <typename T>
    const T& last() {
        EXPECT_FALSE(link.sent.empty());
        const T* message = std::get_if<T>(&link.sent.back());
        EXPECT_NE(message, nullptr) << "last message has another type: " << link.sent.back().index();
        static const T none{};
        return message == nullptr ? none : *message;
    }
    static Propose proposal() {
        return {.job = "j1",
                .consumer = "analytics",
                .recipe = "r@" + sha256_hex(recipe_text),
                .sources = {"d/train"},
                .lease_seconds = 30};
    }
    Commit commit_order() {
        const WallTime now = std::chrono::system_clock::now();
        const auto authority = tls::Authority::open(tls::Authority::make_root("job CA", std::chrono::hours{1}, now));
        const Agreement agreement{.job = "j1",
                                  .generation = 1,
                                  .consumer = "analytics",
                                  .recipe = proposal().recipe,
                                  .matrix_digest = "m",
                                  .batch = 8,
                                  .steps = 1,
                                  .members = {{own_dn, tls::job_uri("j1", own_dn), 8}}};
        return {.job = "j1",
                .certificate =
                    *authority->sign(csr, {.uri = tls::job_uri("j1", own_dn), .lifetime = std::chrono::hours{1}}, now),
                .authority = authority->certificate(),
                .roster = {.job = "j1",
                           .generation = 1,
                           .plan_digest = wire::digest_of(agreement),
                           .members = {{own_dn, tls::job_uri("j1", own_dn), {"127.0.0.1:4000"}, 8}}},
                .agreement = wire::canonical_text(agreement),
                .lease_seconds = 30};
    }
    void reach_committed() {
        order(proposal());
        csr = last<Accept>().csr;
        order(Prepare{"j1", recipe_text});
        agent->step(clock.steady_now()); // the encoder's answer
        worker_says(Prepared{.job = "j1"});
        order(commit_order());
    }

    const std::filesystem::path file =
        std::filesystem::temp_directory_path() / ("muster-agent-" + random_hex(6) + ".csv");
    ManualClock clock;
    RecordingLink link;
    LoggedLauncher launcher;
    InstantData data;
    tls::KeyPair identity;
    std::string csr;
    std::unique_ptr<Agent> agent;
};

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

TEST_F(AgentTest, answers_repeated_orders_with_the_same_answer) {
    order(proposal());
    const Accept first = last<Accept>();
    order(proposal());
    EXPECT_EQ(last<Accept>().csr, first.csr);
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    order(Prepare{"j1", recipe_text});
    EXPECT_EQ(launcher.log.alive, 1);
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

} // namespace
} // namespace muster::function
