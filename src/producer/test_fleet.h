/// A producer and its training functions in one process, for tests: real brain, store in memory, scripted functions.
#pragma once

#include "base/clock.h"
#include "base/digest.h"
#include "port/fake/memory_store.h"
#include "producer/producer.h"
#include "tls/keys.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster::producer::testing {

inline constexpr auto lifetime = std::chrono::hours{24 * 30};

/// Authorities and keys are slow to make: once for all tests.
inline const tls::Authority& operator_authority() {
    static const tls::Authority authority =
        tls::Authority::open(tls::Authority::make_root("operator", lifetime, ManualClock{}.wall_now())).value();
    return authority;
}
inline const tls::Authority& job_authority() {
    static const tls::Authority authority =
        tls::Authority::open(tls::Authority::make_root("jobs", lifetime, ManualClock{}.wall_now())).value();
    return authority;
}
inline const tls::KeyPair& function_keys(const std::string& dn) {
    static std::map<std::string, tls::KeyPair> made;
    auto found = made.find(dn);
    if (found == made.end()) {
        const tls::CertificateSpec spec{.uri = tls::function_uri(dn), .lifetime = lifetime};
        found = made.emplace(dn, operator_authority().issue(spec, ManualClock{}.wall_now()).value()).first;
    }
    return found->second;
}

/// Holds the digests that count as uploaded.
class SetOfArtefacts final : public Artefacts {
public:
    std::set<std::string> blobs;
    Result<void> adopt(const std::filesystem::path&, const std::string& sha256) override {
        blobs.insert(sha256);
        return {};
    }
    Result<std::filesystem::path> path_of(const std::string& sha256) const override {
        if (!blobs.contains(sha256)) {
            return Error{ErrorCode::not_found, "no such blob"};
        }
        return std::filesystem::path{sha256};
    }
    std::int64_t partial_bytes(const std::string&) const override { return 0; }
    Result<void> append(const std::string&, std::int64_t, std::string_view) override { return {}; }
    Result<void> finish(const std::string&) override { return {}; }
    void remove(const std::string& sha256) override { blobs.erase(sha256); }
};

/// What a scripted function does with a kind of message.
enum class Reply { yes, counter, refuse, refuse_for_now, silent, fail, forge, other_ca };

/// One training function. It behaves like a good one unless told otherwise.
struct TestFunction {
    std::string dn;
    double cores{1.0};
    double seconds_per_row{1e-5};
    std::int64_t blocks{0}; ///< of the model, as it measures them
    bool holds_data{true};
    bool may_leave{true}; ///< rows of it
    std::vector<RowGrant> rows_may_leave{};
    bool pinned{false}; ///< its catalogue says that its rows stay there
    std::int64_t training_rows{18'000};
    ColumnStatistics target{.name = "delay_ms", .values = 18'000, .mean = 10.0, .squares = 18'000.0};
    std::string data_digest{"same-data"};
    std::string matrix_digest{"same-matrix"};
    Reply on_propose{Reply::yes};
    Reply on_prepare{Reply::yes};
    Reply on_calibrate{Reply::yes};
    Reply on_commit{Reply::yes};
    std::string failure{"worker crashed"}; ///< what it says when it fails in a measurement or with a commit
    bool finishes{true};                   ///< sends Done right after Start
    bool answers_release{true};
    double validation_mae{3.0};
    std::string parameters{"same-parameters"};
    std::vector<Score> training{{"MAE", 2.5}};

    bool connected{false};
    std::optional<HeldJob> held{};
    std::optional<Done> done{};
    std::vector<ToFunction> received{};
    std::vector<std::string> trained{}; ///< wire ids of the jobs it started to train

    template <typename T>
    [[nodiscard]] std::vector<T> all() const {
        std::vector<T> found;
        for (const ToFunction& message : received) {
            if (const auto* one = std::get_if<T>(&message)) {
                found.push_back(*one);
            }
        }
        return found;
    }
};

class TestFleet : public FunctionLink {
public:
    ManualClock clock;
    MemoryStore store;
    SetOfArtefacts artefacts;
    Settings settings;
    std::map<std::string, TestFunction> functions;
    std::unique_ptr<Producer> producer;

    TestFleet() {
        settings.public_url = "https://producer:7443";
        settings.notification_recipients = {"https://consumer.example"};
        settings.gather_wait = milliseconds{0};
    }

    void start() {
        producer = Producer::open({store, *this, artefacts, job_authority(), clock, operator_authority().certificate()},
                                  settings)
                       .value();
        if (producer->services().list_recipes().empty()) {
            EXPECT_TRUE(producer->services().add_recipe(recipe(), "admin").ok());
        }
    }

    /// The same with three connected functions, of speeds 1, 1/2 and 1/3.
    void start_three() {
        start();
        for (int i = 1; i <= 3; ++i) {
            add(i);
            connect(name(i));
        }
        run();
    }

    static nlohmann::json recipe(const std::string& name = "ue-delay") {
        return {{"name", name},
                {"inference", "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS"},
                {"data", {{"source", "ue-delay/train"}, {"target", "delay_ms"}}},
                {"loss", "l1"},
                {"batch", 1000},
                {"epochs", 5},
                {"metrics", {"MAE"}}};
    }
    static std::string name(int i) {
        return "SubNetwork=1,ManagedElement=gnb-" + std::to_string(i) + ",MLTrainingFunction=1";
    }

    TestFunction& add(int i) {
        TestFunction& function = functions[name(i)];
        function.dn = name(i);
        function.seconds_per_row = 1e-4 * i;
        return function;
    }
    void connect(const std::string& dn) {
        TestFunction& function = functions.at(dn);
        function.connected = true;
        Hello hello{.dn = dn, .version = "1", .capacity = {.cpu_cores = function.cores, .memory_bytes = 8'000'000'000}};
        if (function.holds_data) {
            hello.sources = {{"ue-delay/train",
                              1'000,
                              function.data_digest,
                              function.may_leave,
                              function.pinned,
                              function.rows_may_leave}};
        }
        if (function.held) {
            hello.jobs.push_back(*function.held);
            hello.busy = true;
        }
        producer->events().on_message(dn, hello);
        if (function.done) { // a good agent says it again
            producer->events().on_message(dn, *function.done);
        }
    }
    void lose(const std::string& dn) {
        functions.at(dn).connected = false;
        producer->events().on_lost(dn, "connection closed");
        run();
    }
    void revoke(const std::string& dn, const std::string& reason) {
        functions.at(dn).connected = false;
        producer->events().on_revoked(dn, reason);
        run();
    }
    /// Kills the producer and starts it again on the same store; the functions keep what they have.
    void restart(bool reconnect = true) {
        producer.reset();
        for (auto& [dn, function] : functions) {
            function.connected = false;
        }
        queue_.clear();
        start();
        for (auto& [dn, function] : functions) {
            if (reconnect) {
                connect(dn);
            }
        }
    }

    /// Delivers and answers until nothing moves.
    void run() {
        for (int rounds = 0; rounds < 1'000; ++rounds) {
            producer->loop().step();
            if (queue_.empty()) {
                return;
            }
            answer_all();
        }
        ADD_FAILURE() << "the fleet does not come to rest";
    }
    /// Delivers and answers until `there` holds.
    template <typename There>
    void run_until(There there) {
        for (int rounds = 0; rounds < 1'000 && !there(); ++rounds) {
            producer->loop().step();
            answer_all();
        }
        EXPECT_TRUE(there());
    }
    void pass(Duration time) {
        clock.advance(time);
        run();
    }

    static nlohmann::json request(double mae = 3.6) {
        return {{"trainingRequestSource", "SubNetwork=1,ManagedElement=analytics"},
                {"aIMLInferenceName", "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS"},
                {"mLTrainingType", "INITIAL_TRAINING"},
                {"performanceRequirements",
                 {{{"inferenceOutputName", "delay_ms"}, {"performanceMetric", "MAE"}, {"performanceScore", mae}}}},
                {"distributedTrainingExpectation", {{"expectedTrainingTime", 20}, {"dataSplitIndication", true}}}};
    }
    static nrm::Dn dn(const std::string& class_name, const std::string& id = "r1") {
        return nrm::Dn::parse("SubNetwork=1,MLTrainingFunction=mlt")->child(class_name, id);
    }
    WriteResult submit(const nlohmann::json& attributes = request(), const std::string& id = "r1") {
        return producer->objects().put(dn("MLTrainingRequest", id),
                                       {{"id", id}, {"objectClass", "MLTrainingRequest"}, {"attributes", attributes}},
                                       "analytics");
    }
    /// Submits, and goes as far as it goes without time passing.
    void train(const std::string& id = "r1") {
        const WriteResult written = submit(request(), id);
        ASSERT_TRUE(written.ok) << written.refusal.reason;
        run();
    }
    WriteResult patch(const nrm::Dn& object, const nlohmann::json& attributes) {
        return producer->objects().merge_patch(object, {{"attributes", attributes}}, "analytics");
    }
    /// Empty when there is no such object.
    nlohmann::json attributes(const nrm::Dn& object) {
        const auto found = producer->objects().read(object, {});
        return found ? found->front().attributes : nlohmann::json::object();
    }
    std::string status(const std::string& id = "r1") {
        return attributes(dn("MLTrainingRequest", id)).value("requestStatus", "gone");
    }
    nlohmann::json progress(const std::string& id = "r1") {
        return attributes(dn("MLTrainingProcess", id)).value("progressStatus", nlohmann::json::object());
    }
    nlohmann::json box(const nrm::Dn& object, const std::string& name) {
        return attributes(object.child("VsDataContainer", name)).value("vsData", nlohmann::json::object());
    }
    /// Functions that hold a job by their own word.
    std::size_t leases() const {
        std::size_t count = 0;
        for (const auto& [dn, function] : functions) {
            count += function.held ? 1 : 0;
        }
        return count;
    }
    std::size_t times_trained() const {
        std::size_t most = 0;
        for (const auto& [dn, function] : functions) {
            most = std::max(most, function.trained.size());
        }
        return most;
    }
    void finish(TestFunction& function) {
        const auto commit = function.all<Commit>().back();
        Done done{.job = function.held->job,
                  .generation = function.held->generation,
                  .steps = 100,
                  .rows = 1'000,
                  .seconds = 10.0,
                  .first_step_seconds = 0.5,
                  .compute_seconds = 8.0,
                  .wait_seconds = 1.0,
                  .bytes_sent = 4'000};
        done.parameters_digest = function.parameters;
        if (commit.roster.members.front().dn == function.dn) {
            done.model_sha256 = std::string(64, 'a');
            done.model_bytes = 123;
            done.evaluations = {{"trained", "training", function.training},
                                {"trained", "validation", {{"MAE", function.validation_mae}}},
                                {"trained", "test", {{"MAE", 3.3}}},
                                {"naive", "test", {{"MAE", 4.1}}},
                                {"linear", "test", {{"MAE", 3.9}}}};
            artefacts.blobs.insert(done.model_sha256);
        }
        function.held->state = "done";
        function.done = done;
        say(function, done);
    }
    void say(const TestFunction& function, const FromFunction& message) {
        if (function.connected) {
            producer->events().on_message(function.dn, message);
        }
    }

    Result<void> send(const std::string& dn, const ToFunction& message) override {
        if (!connected(dn)) {
            return Error{ErrorCode::unavailable, "not connected"};
        }
        queue_.emplace_back(dn, message);
        return {};
    }
    [[nodiscard]] bool connected(const std::string& dn) const override {
        const auto found = functions.find(dn);
        return found != functions.end() && found->second.connected;
    }
    void disconnect(const std::string& dn, const std::string&) override { functions.at(dn).connected = false; }

private:
    void answer_all() {
        while (!queue_.empty()) {
            auto [dn, message] = std::move(queue_.front());
            queue_.pop_front();
            answer(functions.at(dn), message);
        }
    }

    void refuse(TestFunction& function, const std::string& job, std::int64_t generation, Reply reply) {
        function.held.reset();
        const bool for_now = reply == Reply::refuse_for_now;
        say(function, Refuse{job, generation, for_now ? "busy" : "policy_consumer", "not for you", for_now ? 30 : 0});
    }

    void answer(TestFunction& function, const ToFunction& message) {
        function.received.push_back(message);
        if (const auto* propose = std::get_if<Propose>(&message)) {
            on_propose(function, *propose);
        } else if (const auto* release = std::get_if<Release>(&message)) {
            if (function.held && function.held->job == release->job) {
                function.held.reset();
                function.done.reset();
            }
            if (function.answers_release) {
                say(function, Released{release->job});
            }
        } else if (function.held) {
            on_job_message(function, message);
        }
    }

    void on_propose(TestFunction& function, const Propose& propose) {
        if (function.on_propose == Reply::silent) {
            return;
        }
        if (function.on_propose == Reply::refuse || function.on_propose == Reply::refuse_for_now) {
            refuse(function, propose.job, 0, function.on_propose);
            return;
        }
        function.held = HeldJob{propose.job, 0, "accepted"};
        static const tls::KeyPem key = tls::make_key();
        static const std::string csr = tls::make_request(key, "muster://job/any/any").value();
        Accept accept{
            .job = propose.job, .lease_seconds = 30, .cpu_cores = function.cores, .memory_bytes = 4'000'000'000};
        accept.csr = csr;
        accept.addresses = {"127.0.0.1:1"};
        if (!propose.sources.empty()) {
            accept.sources = {{"ue-delay/train",
                               1'000,
                               function.data_digest,
                               function.may_leave,
                               function.pinned,
                               function.rows_may_leave}};
        }
        if (function.on_propose == Reply::counter) {
            accept.memory_bytes /= 2;
            say(function, Counter{accept, "half the memory only"});
        } else {
            say(function, accept);
        }
    }

    void on_job_message(TestFunction& function, const ToFunction& message) {
        HeldJob& held = *function.held;
        if (const auto* prepare = std::get_if<Prepare>(&message)) {
            const bool gathers = !prepare->preprocessing && function.all<Propose>().back().layout == DataLayout::pinned;
            if (gathers && function.on_prepare == Reply::yes) {
                held.state = "gathered";
                say(function,
                    Gathered{prepare->job,
                             {.rows = function.training_rows + 2'000,
                              .inputs = {{.name = "x", .values = 20'000, .squares = 1.0}},
                              .target = function.target}});
            } else if (function.on_prepare == Reply::yes) {
                held.state = "prepared";
                Prepared prepared;
                prepared.job = prepare->job;
                prepared.matrix.rows = function.training_rows + 2'000;
                prepared.matrix.digest = function.matrix_digest;
                prepared.training_rows = function.training_rows;
                prepared.validation_rows = 2'000;
                prepared.parameters = 500;
                prepared.outputs = {"delay_ms"};
                prepared.preprocessing.target.name = "delay_ms";
                if (prepare->data) {
                    prepared.matrix = prepare->data->matrix;
                }
                say(function, std::move(prepared));
            } else if (function.on_prepare == Reply::fail) {
                say(function, Failed{prepare->job, 0, "column delay_ms is not there"});
            }
        } else if (const auto* calibrate = std::get_if<Calibrate>(&message)) {
            if (function.on_calibrate == Reply::yes) {
                held.state = "calibrated";
                say(function, Calibrated{calibrate->job, calibration(function, *calibrate)});
            } else if (function.on_calibrate == Reply::fail) {
                say(function, Failed{calibrate->job, 0, function.failure});
            }
        } else if (const auto* commit = std::get_if<Commit>(&message)) {
            on_commit(function, *commit);
        } else if (std::holds_alternative<Start>(message) && held.state == "committed") {
            held.state = "running";
            function.trained.push_back(held.job);
            if (function.finishes) {
                finish(function);
            }
        }
    }

    static Calibration calibration(const TestFunction& function, const Calibrate& order) {
        Calibration measured;
        for (const std::int64_t batch : order.batches) {
            measured.steps.push_back({batch, function.seconds_per_row * static_cast<double>(batch)});
            measured.memory.push_back({batch, 100'000'000 + batch * 1'000});
        }
        measured.parameter_bytes = 2'000;
        for (std::int64_t i = 0; i < function.blocks; ++i) {
            measured.blocks.push_back({.name = "block " + std::to_string(i),
                                       .seconds = function.seconds_per_row * 100,
                                       .state_bytes = 1'000'000,
                                       .activation_bytes = 1'000,
                                       .input_bytes = 1'000});
            measured.micro_rows = 250;
        }
        measured.latency_seconds = order.roster.members.size() > 1 ? 1e-4 : 0.0;
        measured.bytes_per_second = order.roster.members.size() > 1 ? 1e9 : 0.0;
        return measured;
    }

    void on_commit(TestFunction& function, const Commit& commit) {
        if (function.on_commit == Reply::silent) {
            return;
        }
        if (function.on_commit == Reply::refuse) {
            say(function, Refuse{commit.job, commit.roster.generation, "policy_peer", "I do not work with gnb-1"});
            return;
        }
        if (function.on_commit == Reply::fail) {
            say(function, Failed{commit.job, commit.roster.generation, function.failure});
            return;
        }
        function.held->state = "committed";
        function.held->generation = commit.roster.generation;
        tls::KeyPair keys = function_keys(function.on_commit == Reply::forge ? name(99) : function.dn);
        if (function.on_commit == Reply::other_ca) {
            const tls::CertificateSpec spec{.uri = tls::function_uri(function.dn), .lifetime = lifetime};
            keys = job_authority().issue(spec, clock.wall_now()).value();
        }
        const std::string signature = tls::sign_message(keys.key, commit.roster.plan_digest).value();
        say(function,
            Committed{commit.job,
                      commit.roster.generation,
                      commit.roster.plan_digest,
                      to_base64(signature),
                      keys.certificate});
    }

    std::deque<std::pair<std::string, ToFunction>> queue_;
};

/// A producer with three connected functions.
class ThreeFunctions : public TestFleet {
public:
    ThreeFunctions() { start_three(); }
};

/// The same with a job r1 in training, whose members train until they are told to finish.
class RunningJob final : public ThreeFunctions {
public:
    RunningJob() {
        for (auto& [dn, function] : functions) {
            function.finishes = false;
        }
        train();
        EXPECT_EQ(progress().value("status", ""), "RUNNING");
    }
    void finish_all() {
        for (auto& [dn, function] : functions) {
            finish(function);
        }
        run();
    }
};

} // namespace muster::producer::testing
