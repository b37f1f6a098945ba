#include "base/file.h"
#include "base/id.h"
#include "function/job_file.h"

#include <gtest/gtest.h>

namespace muster::function {
namespace {

class JobFileTest : public ::testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder); }
    void TearDown() override { std::filesystem::remove_all(folder); }

    const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("muster-job-" + random_hex(6));
    const JobFile file{
        .job = {.job = "j1",
                .generation = 3,
                .epoch = 7,
                .lease_seconds = 30,
                .state = "uploading",
                .committed = Committed{.job = "j1", .generation = 3, .plan_digest = "d", .signature = "s"},
                .done = Done{.job = "j1",
                             .generation = 3,
                             .steps = 12,
                             .model_sha256 = "abc",
                             .evaluations = {{"trained", "test", {{"MAE", 3.5}}}}}},
        .worker = {4711, "boot/12"},
        .cgroup = {"/sys/fs/cgroup/cpu/x", "/sys/fs/cgroup/memory/x"}};
};

TEST_F(JobFileTest, gives_back_what_was_written) {
    ASSERT_TRUE(write_job_file(folder, file).ok());
    const auto read = read_job_file(folder);
    ASSERT_TRUE(read.ok()) << read.error().text();
    EXPECT_EQ(read->worker, file.worker);
    EXPECT_EQ(read->cgroup, file.cgroup);
    EXPECT_EQ(read->job.job, "j1");
    EXPECT_EQ(read->job.generation, 3);
    EXPECT_EQ(read->job.epoch, 7);
    EXPECT_EQ(read->job.lease_seconds, 30);
    EXPECT_EQ(read->job.state, "uploading");
    EXPECT_EQ(read->job.committed->plan_digest, "d");
    EXPECT_EQ(read->job.done->evaluations.at(0).scores.at(0).value, 3.5);

    ASSERT_TRUE(write_job_file(folder, {.job = {.job = "j1", .state = "preparing"}, .worker = {}}).ok());
    const auto early = read_job_file(folder);
    ASSERT_TRUE(early.ok()) << early.error().text();
    EXPECT_FALSE(early->job.committed || early->job.done);
}

TEST_F(JobFileTest, refuses_what_it_does_not_understand) {
    EXPECT_EQ(read_job_file(folder).error().code, ErrorCode::not_found);
    for (const char* text : {"", "no JSON", "[]", R"({"format": 2})", R"({"format": 1, "job": {}, "worker": {}})"}) {
        ASSERT_TRUE(replace_file(folder / "job.json", text).ok());
        EXPECT_EQ(read_job_file(folder).error().code, ErrorCode::invalid_argument) << text;
    }
}

} // namespace
} // namespace muster::function
