#include "producer/finished_jobs.h"
#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

std::vector<std::string> kept(Store& store) {
    std::vector<std::string> ids;
    for (const Record& record : store.list("job")) {
        ids.push_back(record.key);
    }
    return ids;
}

/// Records of jobs that ended at 1, 2, ... days, all in the hands of FinishedJobs.
struct Ended {
    MemoryStore store;
    Settings settings;
    FinishedJobs jobs{store, settings};

    explicit Ended(int count) {
        for (int day = 1; day <= count; ++day) {
            Job job;
            job.id = "j" + std::to_string(day);
            job.ended_ms = ms(day);
            EXPECT_TRUE(store.commit(std::array{write_of(job)}).ok());
            jobs.add(job);
        }
    }
    static std::int64_t ms(int days) { return milliseconds{std::chrono::hours{24 * days}}.count(); }
};

TEST(FinishedJobs, go_by_age) {
    Ended ended{3};
    ended.settings.keep_finished_jobs_for = std::chrono::hours{24 * 10};
    ended.jobs.sweep(Ended::ms(11) - 1);
    EXPECT_EQ(kept(ended.store).size(), 3U);
    ended.jobs.sweep(Ended::ms(12));
    EXPECT_EQ(kept(ended.store), std::vector<std::string>{"j3"});
}

TEST(FinishedJobs, go_by_number_the_oldest_first) {
    Ended ended{5};
    ended.settings.keep_finished_jobs = 2;
    ended.jobs.sweep(Ended::ms(6));
    EXPECT_EQ(kept(ended.store), (std::vector<std::string>{"j4", "j5"}));
    ended.settings.keep_finished_jobs = 0;
    ended.jobs.sweep(Ended::ms(6));
    EXPECT_TRUE(kept(ended.store).empty());
}

TEST(FinishedJobs, wait_while_the_store_is_down) {
    Ended ended{2};
    ended.settings.keep_finished_jobs = 0;
    ended.store.set_down(true);
    EXPECT_THROW(ended.jobs.sweep(Ended::ms(3)), StoreDown);
    ended.store.set_down(false);
    ended.jobs.sweep(Ended::ms(3));
    EXPECT_TRUE(kept(ended.store).empty());
}

TEST(FinishedJobs, keep_their_log_until_then_and_report_model_and_id_for_ever) {
    ThreeFunctions fleet;
    fleet.train();
    ASSERT_EQ(fleet.status(), "FINISHED");
    fleet.pass(fleet.settings.retention);
    ASSERT_EQ(fleet.status(), "gone");
    EXPECT_TRUE(fleet.producer->services().log_of("r1").ok());
    fleet.restart();
    EXPECT_TRUE(fleet.producer->services().log_of("r1").ok());
    fleet.pass(fleet.settings.keep_finished_jobs_for - fleet.settings.retention);
    EXPECT_EQ(fleet.producer->services().log_of("r1").error().code, ErrorCode::not_found);
    EXPECT_TRUE(kept(fleet.store).empty());
    const auto report = fleet.attributes(TestFleet::dn("MLTrainingReport"));
    ASSERT_FALSE(report.empty());
    const auto model = nrm::Dn::parse(report.at("mLModelGeneratedRef").get<std::string>());
    EXPECT_FALSE(fleet.attributes(*model).empty());
    EXPECT_EQ(fleet.box(TestFleet::dn("MLTrainingProcess"), "agreement").at("signatures").size(), 3U);
    EXPECT_EQ(fleet.submit().refusal.code, ErrorCode::conflict) << "its id stays used";
}

TEST(FinishedJobs, of_requests_that_are_there_are_never_deleted) {
    TestFleet fleet;
    fleet.settings.keep_finished_jobs = 0;
    fleet.start_three();
    fleet.train();
    fleet.restart();
    fleet.run();
    EXPECT_EQ(kept(fleet.store).size(), 1U);
    EXPECT_TRUE(fleet.producer->services().log_of("r1").ok());
    fleet.pass(fleet.settings.retention);
    EXPECT_TRUE(kept(fleet.store).empty());
}

} // namespace
} // namespace muster::producer::testing
