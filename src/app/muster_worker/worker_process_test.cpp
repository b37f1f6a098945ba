#include "base/digest.h"
#include "wire/recipe.h"
#include "worker_driver.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <memory>
#include <thread>

namespace muster::app::testing {
namespace {

WorkerPrepare prepare(std::int64_t epochs) {
    return {"job-1", wire::to_json(small_recipe(epochs)).dump(), {}, 1};
}

WorkerCommit commit_alone(std::int64_t generation) {
    WorkerCommit commit;
    commit.order.job = "job-1";
    commit.order.roster = roster_of_one(generation);
    return commit;
}

TEST(WorkerProcess, prepares_calibrates_trains_and_leaves_a_model_from_within_its_box) {
    WorkerDriver worker{{"--threads", "2", "--memory-limit", std::to_string(std::int64_t{4} << 30)}};
    worker.connect();
    worker.send(prepare(3));
    const auto prepared = worker.wait_for<Prepared>();
    EXPECT_EQ(prepared.job, "job-1");
    EXPECT_EQ(prepared.matrix.rows, WorkerDriver::rows);
    EXPECT_EQ(prepared.training_rows, 1'800);
    EXPECT_EQ(prepared.validation_rows, 200);
    EXPECT_EQ(prepared.parameters, 2 * 16 + 16 + 16 + 1);
    EXPECT_EQ(prepared.outputs, std::vector<std::string>{"y"});
    EXPECT_NE(worker.log().find("seccomp=on"), std::string::npos) << worker.log();

    WorkerCalibrate calibrate;
    calibrate.order.job = "job-1";
    calibrate.order.roster = roster_of_one(0);
    calibrate.order.batches = {64, 128, 256};
    worker.send(calibrate);
    const auto calibrated = worker.wait_for<Calibrated>();
    EXPECT_EQ(calibrated.calibration.steps.size(), 3U);
    EXPECT_GT(calibrated.calibration.parameter_bytes, 0);

    worker.send(commit_alone(1));
    EXPECT_EQ(worker.wait_for<WorkerJoined>().generation, 1);
    worker.send(WorkerStart{1});
    worker.send(WorkerStart{1}); // every message may come twice
    const auto done = worker.wait_for<Done>();
    EXPECT_EQ(done.generation, 1);
    EXPECT_EQ(done.steps, 3 * 8);
    EXPECT_EQ(done.rows, 3 * 1'800);
    EXPECT_EQ(done.model_sha256, sha256_file(worker.model()).value());
    EXPECT_EQ(static_cast<std::uintmax_t>(done.model_bytes), std::filesystem::file_size(worker.model()));
    EXPECT_FALSE(done.evaluations.empty());
    worker.send(WorkerStop{"taken"});
    EXPECT_EQ(worker.wait_exit(), "") << worker.log();
}

TEST(WorkerProcess, outlives_its_agent_and_tells_a_new_one_the_last_state) {
    WorkerDriver worker;
    worker.connect();
    worker.send(prepare(2));
    worker.disconnect(); // even before the answer
    worker.connect();
    EXPECT_EQ(worker.wait_for<Prepared>().job, "job-1");
    worker.send(commit_alone(1));
    (void)worker.wait_for<WorkerJoined>();
    worker.disconnect();
    worker.connect();
    EXPECT_EQ(worker.wait_for<WorkerJoined>().generation, 1);
    worker.send(WorkerStart{1});
    worker.disconnect();
    worker.connect();
    const auto digest = worker.wait_for<Done>().parameters_digest;
    worker.disconnect(); // an agent that dies between reading and recording
    worker.connect();
    EXPECT_EQ(worker.wait_for<Done>().parameters_digest, digest);
    worker.send(WorkerStop{"taken"});
    EXPECT_EQ(worker.wait_exit(), "") << worker.log();
}

TEST(WorkerProcess, ends_with_status_5_when_its_lease_expires) {
    WorkerDriver worker{{"--lease-seconds", "1"}};
    EXPECT_EQ(worker.wait_exit(), "exit status 5") << worker.log();
    EXPECT_NE(worker.log().find("the lease expired"), std::string::npos) << worker.log();
}

TEST(WorkerProcess, lives_on_prolonged_leases_only) {
    WorkerDriver worker{{"--lease-seconds", "20"}};
    worker.connect();
    worker.send(prepare(1));
    (void)worker.wait_for<Prepared>();
    worker.send(WorkerLease{0});
    EXPECT_EQ(worker.wait_exit(), "exit status 5") << worker.log();
}

TEST(WorkerProcess, stops_within_a_training) {
    WorkerDriver worker;
    worker.connect();
    worker.send(prepare(1'000'000));
    (void)worker.wait_for<Prepared>();
    worker.send(commit_alone(1));
    (void)worker.wait_for<WorkerJoined>();
    worker.send(WorkerStart{1});
    EXPECT_GT(worker.wait_for<Progress>().step, 0);
    worker.send(WorkerStop{"released by the producer"});
    EXPECT_EQ(worker.wait_exit(), "") << worker.log();
    EXPECT_NE(worker.log().find("released by the producer"), std::string::npos);
}

TEST(WorkerProcess, says_why_it_failed_and_ends_with_status_1) {
    WorkerDriver worker;
    worker.connect();
    auto recipe = wire::to_json(small_recipe(1));
    recipe["epoch"] = 3;
    worker.send(WorkerPrepare{"job-1", recipe.dump(), {}, 1});
    EXPECT_NE(worker.wait_for<Failed>().reason.find("epoch"), std::string::npos);
    worker.send(WorkerStop{"taken"});
    EXPECT_EQ(worker.wait_exit(), "exit status 1") << worker.log();
}

TEST(WorkerProcess, refuses_messages_it_does_not_understand) {
    for (const char* text : {"no JSON",
                             R"({"type": "dance", "body": {}})",
                             R"({"type": "start", "body": {}})",
                             R"({"type": "dialled", "body": {}})"}) {
        WorkerDriver worker;
        worker.connect();
        worker.send_text(text);
        EXPECT_NE(worker.wait_for<Failed>().reason.find("agent's message"), std::string::npos) << text;
    }
}

/// Two workers, their certificates and what their agents order.
class Pair {
public:
    Pair() : workers{std::make_unique<WorkerDriver>(), std::make_unique<WorkerDriver>()}, specs_{make_specs()} {}

    template <typename Order>
    Order order(std::size_t rank, std::int64_t generation) const {
        const auto& credentials = specs_[rank].credentials;
        Order made;
        made.order.job = "job-1";
        made.order.certificate = credentials.own.certificate;
        made.order.authority = credentials.trust;
        made.order.roster = {"job-1", generation, std::string(64, 'a'), {}};
        for (const auto& member : specs_[0].members) {
            made.order.roster.members.push_back({member.name, member.identity, member.addresses, 128});
        }
        made.order.roster.members[0].batch_rows = 200;
        made.order.roster.members[1].batch_rows = 56;
        made.key = credentials.own.key;
        made.rank = static_cast<int>(rank);
        return made;
    }

    /// Gives rank 1 a certificate of another authority.
    void estrange() { specs_[1] = make_specs()[1]; }

    /// Runs `agent(worker, rank)` for both at once.
    void run(const std::function<void(WorkerDriver&, std::size_t)>& agent) {
        std::exception_ptr failure;
        std::jthread other{[&] {
            try {
                agent(*workers[1], 1);
            } catch (...) { // carried to the test's thread
                failure = std::current_exception();
            }
        }};
        agent(*workers[0], 0);
        other.join();
        if (failure) {
            std::rethrow_exception(failure);
        }
    }

    std::array<std::unique_ptr<WorkerDriver>, 2> workers;

private:
    std::vector<collective::GroupSpec> make_specs() const {
        std::vector<process_group::testing::Listener> addresses(2);
        addresses[0].address = workers[0]->peers().address;
        addresses[1].address = workers[1]->peers().address;
        return process_group::testing::make_specs(addresses, std::chrono::seconds{30});
    }

    std::vector<collective::GroupSpec> specs_;
};

void prepare_and_join(const Pair& pair, WorkerDriver& worker, std::size_t rank, std::int64_t epochs) {
    worker.connect();
    worker.send(prepare(epochs));
    (void)worker.wait_for<Prepared>();
    worker.send(pair.order<WorkerCommit>(rank, 1));
    (void)worker.wait_for<WorkerJoined>();
}

TEST(WorkerProcess, two_members_calibrate_and_train_over_mutual_tls) {
    Pair pair;
    std::vector<Done> done(2);
    pair.run([&](WorkerDriver& worker, std::size_t rank) {
        worker.connect();
        worker.send(prepare(2));
        (void)worker.wait_for<Prepared>();
        auto calibrate = pair.order<WorkerCalibrate>(rank, 0);
        calibrate.order.batches = {64, 128, 256};
        worker.send(calibrate);
        EXPECT_GT(worker.wait_for<Calibrated>().calibration.bytes_per_second, 0);
        worker.send(pair.order<WorkerCommit>(rank, 1));
        (void)worker.wait_for<WorkerJoined>();
        worker.send(WorkerStart{1});
        done[rank] = worker.wait_for<Done>();
    });
    EXPECT_EQ(done[0].parameters_digest, done[1].parameters_digest);
    EXPECT_FALSE(done[0].model_sha256.empty());
    EXPECT_TRUE(done[1].model_sha256.empty());
    EXPECT_GT(done[0].bytes_sent, 0);
    EXPECT_EQ(done[0].rows + done[1].rows, 2 * 1'800);
}

TEST(WorkerProcess, two_members_with_sharded_optimizer_state_train_the_same_model) {
    std::vector<double> scores;
    for (const std::array<double, 2>& shares : {std::array{1.0, 1.0}, std::array{0.25, 0.75}}) {
        Pair pair;
        std::vector<Done> done(2);
        pair.run([&](WorkerDriver& worker, std::size_t rank) {
            worker.connect();
            worker.send(prepare(1));
            (void)worker.wait_for<Prepared>();
            auto commit = pair.order<WorkerCommit>(rank, 1);
            commit.order.roster.members[0].state_share = shares[0];
            commit.order.roster.members[1].state_share = shares[1];
            worker.send(commit);
            (void)worker.wait_for<WorkerJoined>();
            worker.send(WorkerStart{1});
            done[rank] = worker.wait_for<Done>();
        });
        EXPECT_EQ(done[0].parameters_digest, done[1].parameters_digest);
        EXPECT_FALSE(done[0].model_sha256.empty());
        ASSERT_FALSE(done[0].evaluations.empty());
        scores.push_back(done[0].evaluations.front().scores.front().value);
    }
    EXPECT_NEAR(scores[0], scores[1], 1e-4 * std::abs(scores[0]));
}

TEST(WorkerProcess, names_a_member_that_was_lost_in_training) {
    Pair pair;
    pair.run([&](WorkerDriver& worker, std::size_t rank) {
        prepare_and_join(pair, worker, rank, 1'000'000);
        worker.send(WorkerStart{1});
        (void)worker.wait_for<Progress>();
    });
    pair.workers[1].reset(); // kill -9
    const auto failed = pair.workers[0]->wait_for<Failed>();
    EXPECT_EQ(failed.generation, 1);
    EXPECT_NE(failed.reason.find("MLTrainingFunction=1"), std::string::npos) << failed.reason;
    pair.workers[0]->send(WorkerStop{"taken"});
    EXPECT_EQ(pair.workers[0]->wait_exit(), "exit status 1");
}

TEST(WorkerProcess, refuses_a_member_of_another_authority_from_within_its_box) {
    Pair pair;
    pair.estrange();
    pair.run([&](WorkerDriver& worker, std::size_t rank) {
        if (rank == 0) { // dials, and so learns that it is refused
            try {
                prepare_and_join(pair, worker, rank, 1);
                ADD_FAILURE() << "joined";
            } catch (const std::runtime_error& error) {
                EXPECT_NE(std::string{error.what()}.find("join: "), std::string::npos) << error.what();
            }
            return;
        }
        // Accepts: a stranger must not end its waiting for the true member; the agent does that.
        worker.connect();
        worker.send(prepare(1));
        (void)worker.wait_for<Prepared>();
        worker.send(pair.order<WorkerCommit>(rank, 1));
        const auto until = Deadline::after(std::chrono::seconds{20});
        while (worker.log().find("TLS handshake: ") == std::string::npos && !until.passed()) {
            std::this_thread::yield();
        }
        EXPECT_NE(worker.log().find("TLS handshake: "), std::string::npos) << worker.log();
        worker.send(WorkerStop{"the other one failed"});
        EXPECT_EQ(worker.wait_exit(), "");
    });
}

} // namespace
} // namespace muster::app::testing
