#include "base/digest.h"
#include "base/file.h"
#include "function/agent.h"
#include "tls/identity.h"
#include "wire/agreement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <thread>

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
    Result<void> download(const std::string& sha256,
                          const std::filesystem::path& file,
                          std::int64_t /*bytes_max*/,
                          Deadline /*deadline*/) override {
        downloads.with([&](auto& list) { list.push_back(sha256); });
        return replace_file(file, program);
    }
    Result<void> upload(const std::filesystem::path& file, const std::string& sha256, Deadline /*deadline*/) override {
        uploads.with([&](auto& list) { list.push_back(file.string() + " " + sha256); });
        return upload_result;
    }
    std::vector<FromFunction> sent;
    Guarded<std::vector<std::string>> uploads;
    Guarded<std::vector<std::string>> downloads;
    std::string program; ///< what every download gives
    Result<void> upload_result;
};

/// A worker that remembers what it was told.
struct WorkerLog {
    std::vector<ToWorker> orders;
    std::optional<JobRecord> record; ///< outlives the agent, as a file would
    int alive{0};
    bool agent_killed{false}; ///< then the worker's end is no end of what it left
    WorkerEvents* events{nullptr};
    WorkerLimits limits;
    std::filesystem::path matrix;
};

class LoggedWorker final : public WorkerProcess {
public:
    explicit LoggedWorker(WorkerLog& log) : log_{log} { ++log_.alive; }
    ~LoggedWorker() override {
        --log_.alive;
        if (!log_.agent_killed) {
            log_.record.reset();
        }
    }
    Result<void> send(const ToWorker& message) override {
        log_.orders.push_back(message);
        return {};
    }
    [[nodiscard]] std::filesystem::path model_file() const override { return "model.pt"; }
    Result<void> remember(const JobRecord& record) override {
        log_.record = record;
        return {};
    }

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
                                                 const std::filesystem::path& matrix,
                                                 const WorkerLimits& limits,
                                                 PeerListener& /*listener*/,
                                                 WorkerEvents& events) override {
        log.events = &events;
        log.limits = limits;
        log.matrix = matrix;
        log.record = JobRecord{.job = "j1", .state = "preparing"};
        return std::unique_ptr<WorkerProcess>{std::make_unique<LoggedWorker>(log)};
    }
    std::vector<LeftJob> left() override {
        return log.record ? std::vector{LeftJob{log.record->job, log.record}} : std::vector<LeftJob>{};
    }
    std::unique_ptr<WorkerProcess> take_over(const std::string& /*job*/, WorkerEvents& events) override {
        log.events = &events;
        return std::make_unique<LoggedWorker>(log);
    }
    WorkerLog log;
};

class InstantData final : public DataProgram {
public:
    void encode(const Order& order, Deadline /*deadline*/, Callback done) override {
        memory_bytes = order.memory_bytes;
        encoded_by = order.preprocessing;
        done(result);
    }
    void gather(const Order& /*order*/,
                std::int64_t group_rows_min,
                Deadline /*deadline*/,
                StatisticsCallback done) override {
        least = group_rows_min;
        done(statistics);
    }
    std::optional<Preprocessing> encoded_by;
    std::int64_t least{};
    Result<TableStatistics> statistics = TableStatistics{.rows = 40, .inputs = {}, .target = {.name = "y"}};
    std::int64_t memory_bytes{-1};
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
        agent = make_agent();
    }
    std::unique_ptr<Agent> make_agent() {
        return std::make_unique<Agent>(
            AgentSettings{.dn = own_dn,
                          .version = "test",
                          .policy = {.users_models = users_models},
                          .downloads = file.string() + ".downloads"},
            Catalogue{{{.name = "d/train", .file = file}}},
            Agent::World{clock,
                         link,
                         launcher,
                         data,
                         [] { return Capacity{.cpu_cores = 1.0, .memory_bytes = 1'000'000'000}; },
                         [this] { return identity; },
                         [] { return std::int64_t{5}; }});
    }
    /// kill -9 of the agent, and its next start. Nothing that it did is undone, nothing that came is handled.
    void restart() {
        launcher.log.agent_killed = true;
        agent.reset();
        launcher.log.agent_killed = false;
        link.sent.clear();
        launcher.log.orders.clear();
        agent = make_agent();
        agent->take_over(clock.steady_now());
        EXPECT_TRUE(link.sent.empty()) << "the link does not stand yet";
    }
    void step_until(const std::function<bool()>& condition) {
        const Deadline deadline = Deadline::after(std::chrono::seconds{10});
        while (!condition() && !deadline.passed()) {
            agent->step(clock.steady_now());
            std::this_thread::yield();
        }
        EXPECT_TRUE(condition());
    }
    std::size_t starts() const {
        return static_cast<std::size_t>(std::ranges::count_if(
            launcher.log.orders, [](const ToWorker& o) { return std::holds_alternative<WorkerStart>(o); }));
    }
    /// A recipe whose model is `program`, proposed as another kind and prepared.
    void prepare_users_model(const std::string& program) {
        const std::string recipe =
            R"({"name": "own", "data": {"source": "d/train", "target": "y"}, "loss": "l1", "model": {"family": )"
            R"("torchscript", "archive": {"sha256": ")" +
            sha256_hex(program) + R"(", "bytes": 9, "blocks": 0}}})";
        Propose asked = proposal();
        asked.recipe = "own@" + sha256_hex(recipe);
        order(asked);
        order(Prepare{"j1", recipe});
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
    bool users_models{false};
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

TEST_F(AgentTest, starts_a_worker_for_data_that_is_elsewhere) {
    Propose stage = proposal();
    stage.sources.clear();
    order(stage);
    EXPECT_TRUE(last<Accept>().sources.empty());
    order(Prepare{"j1", recipe_text, DataElsewhere{.matrix = {.rows = 10, .columns = 3, .digest = "m"}}});
    ASSERT_EQ(launcher.log.alive, 1);
    EXPECT_TRUE(launcher.log.matrix.empty());
    EXPECT_EQ(data.memory_bytes, -1) << "nothing is encoded";
    const auto& prepare = std::get<WorkerPrepare>(launcher.log.orders.front());
    ASSERT_TRUE(prepare.data);
    EXPECT_EQ(prepare.data->matrix.rows, 10);
    worker_says(Prepared{.job = "j1", .matrix = prepare.data->matrix, .training_rows = 9});
    EXPECT_EQ(last<Prepared>().matrix.digest, "m");
    EXPECT_EQ(last<Prepared>().training_rows, 9);
}

TEST_F(AgentTest, says_statistics_of_pinned_rows_and_encodes_by_what_all_have_agreed_on) {
    Propose asked = proposal();
    asked.layout = DataLayout::pinned;
    order(asked);
    const Prepare first{"j1", recipe_text};
    order(first);
    agent->step(clock.steady_now());
    EXPECT_EQ(data.least, 10);
    EXPECT_EQ(last<Gathered>().statistics.rows, 40);
    EXPECT_EQ(data.memory_bytes, -1) << "nothing is encoded";
    link.sent.clear();
    order(first); // may come twice
    EXPECT_EQ(last<Gathered>().statistics.rows, 40);
    const Prepare second{"j1", recipe_text, {}, Preprocessing{.inputs = {}, .target = {.name = "y", .mean = 4.0}}};
    order(second);
    agent->step(clock.steady_now());
    EXPECT_EQ(data.encoded_by, second.preprocessing);
    worker_says(Prepared{.job = "j1", .training_rows = 36, .validation_rows = 4});
    EXPECT_NE(last<Failed>().reason.find("policy.group_rows_min"), std::string::npos) << "scores of 4 rows";
}

TEST_F(AgentTest, quotes_nothing_of_pinned_rows) {
    data.statistics = Error{ErrorCode::invalid_argument, "\"secret\" is not a number", "train.csv: row 3, column x"};
    Propose asked = proposal();
    asked.layout = DataLayout::pinned;
    order(asked);
    order(Prepare{"j1", recipe_text});
    agent->step(clock.steady_now());
    EXPECT_EQ(last<Failed>().reason.find("secret"), std::string::npos);
    EXPECT_NE(last<Failed>().reason.find("row 3, column x"), std::string::npos);
}

TEST_F(AgentTest, encodes_by_nothing_that_it_was_not_asked_about) {
    order(proposal());
    order(Prepare{"j1", recipe_text, {}, Preprocessing{}});
    EXPECT_NE(last<Failed>().reason.find("nothing was gathered"), std::string::npos);
}

TEST_F(AgentTest, refuses_a_preparation_that_does_not_fit_the_proposal) {
    order(proposal());
    order(Prepare{"j1", recipe_text, DataElsewhere{}});
    EXPECT_EQ(last<Failed>().reason, "the preparation describes data that the proposal says is here");
    order(Release{"j1", "again"});
    Propose stage = proposal();
    stage.sources.clear();
    order(stage);
    order(Prepare{"j1", recipe_text});
    EXPECT_EQ(last<Failed>().reason, "the proposal names no data and the preparation describes none");
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
