#include "base/digest.h"
#include "wire/recipe.h"
#include "worker_driver.h"

#include <gtest/gtest.h>

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

TEST(WorkerProcess, two_members_calibrate_and_train_over_mutual_tls) {
    WorkerDriver first;
    WorkerDriver second;
    std::vector<worker::testing::Listener> addresses(2);
    addresses[0].address = first.peers().address;
    addresses[1].address = second.peers().address;
    const auto specs = worker::testing::make_specs(addresses, std::chrono::seconds{30});
    const auto roster = [&](std::int64_t generation) {
        Roster made{"job-1", generation, std::string(64, 'a'), {}};
        for (const auto& member : specs[0].members) {
            made.members.push_back({member.name, member.identity, member.addresses, 0});
        }
        made.members[0].batch_rows = 200;
        made.members[1].batch_rows = 56;
        return made;
    };
    std::vector<Done> done(2);
    const auto agent = [&](WorkerDriver& driver, std::size_t rank) {
        const auto& credentials = specs[rank].credentials;
        const auto order = [&](auto message, std::int64_t generation) {
            message.order.job = "job-1";
            message.order.certificate = credentials.own.certificate;
            message.order.authority = credentials.trust;
            message.order.roster = roster(generation);
            message.key = credentials.own.key;
            message.rank = static_cast<int>(rank);
            return message;
        };
        driver.connect();
        driver.send(prepare(2));
        (void)driver.wait_for<Prepared>();
        auto calibrate = order(WorkerCalibrate{}, 0);
        calibrate.order.batches = {64, 128, 256};
        driver.send(calibrate);
        const auto calibrated = driver.wait_for<Calibrated>();
        EXPECT_GT(calibrated.calibration.bytes_per_second, 0);
        driver.send(order(WorkerCommit{}, 1));
        (void)driver.wait_for<WorkerJoined>();
        driver.send(WorkerStart{1});
        done[rank] = driver.wait_for<Done>();
    };
    {
        std::exception_ptr failure;
        std::jthread other{[&] {
            try {
                agent(second, 1);
            } catch (...) { // carried to the test's thread
                failure = std::current_exception();
            }
        }};
        agent(first, 0);
        other.join();
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
    EXPECT_EQ(done[0].parameters_digest, done[1].parameters_digest);
    EXPECT_FALSE(done[0].model_sha256.empty());
    EXPECT_TRUE(done[1].model_sha256.empty());
    EXPECT_GT(done[0].bytes_sent, 0);
    EXPECT_EQ(done[0].rows + done[1].rows, 2 * 1'800);
}

} // namespace
} // namespace muster::app::testing
