/// An agent whose producer, worker and data program are played by the test. Only tests include it.
#pragma once

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

namespace muster::function::testing {

inline const std::string own_dn = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
inline const std::string recipe_text = R"({"name":"r"})";

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
                          .downloads = file.string() + ".downloads",
                          .arrivals = file.string() + ".arrivals"},
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
    void TearDown() override {
        std::filesystem::remove(file);
        std::filesystem::remove(file.string() + ".arrivals"); // empty: what was in it had no name
    }

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

} // namespace muster::function::testing
