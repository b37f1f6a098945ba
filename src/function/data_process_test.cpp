#include "base/file.h"
#include "base/id.h"
#include "function/data_process.h"

#include <gtest/gtest.h>

#include <future>

namespace muster::function {
namespace {

/// A script in the place of muster-data.
class DataProcessTest : public ::testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder); }
    void TearDown() override { std::filesystem::remove_all(folder); }

    /// What a program that writes `line` is understood to say.
    Result<DataProgram::Encoded> hear(const std::string& line, std::int64_t memory_bytes = 0) {
        const std::string script =
            "#!/bin/sh\necho \"$@\" > " + (folder / "arguments").string() + "\ncat <<'END'\n" + line + "\nEND\n";
        EXPECT_TRUE(replace_file(folder / "program", script, 0700).ok());
        const auto data =
            data_process({.program = folder / "program", .cache = folder / "cache", .cache_bytes_max = 77});
        std::promise<Result<DataProgram::Encoded>> answer;
        data->encode({.recipe = "{}", .train = "a.csv", .test = {}, .memory_bytes = memory_bytes},
                     Deadline::after(std::chrono::seconds{20}),
                     [&](auto result) { answer.set_value(std::move(result)); });
        return answer.get_future().get();
    }
    std::string arguments() { return *read_file(folder / "arguments"); }

    const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("muster-data-" + random_hex(6));
};

TEST_F(DataProcessTest, gives_the_matrix) {
    const auto made = hear(R"({"folder": "/cache/x", "info": {"rows": 2, "test_rows": 0, "columns": 3, "digest": "d",)"
                           R"( "encode_seconds": 0.5}})");
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_EQ(made->folder, "/cache/x");
    EXPECT_EQ(made->info.rows, 2);
    EXPECT_EQ(arguments().find("--memory-limit"), std::string::npos);
    EXPECT_NE(arguments().find("--lock-wait-seconds 1"), std::string::npos) << arguments(); // of 20
    EXPECT_NE(arguments().find("--cache-bytes-max 77"), std::string::npos) << arguments();
    EXPECT_TRUE(std::filesystem::is_empty(folder / "cache")) << "the request is removed";
}

TEST_F(DataProcessTest, keeps_the_code_of_an_error) {
    for (const ErrorCode code : {ErrorCode::invalid_argument,
                                 ErrorCode::not_found,
                                 ErrorCode::resource_exhausted,
                                 ErrorCode::unavailable,
                                 ErrorCode::deadline_exceeded}) {
        const auto none = hear(std::string{R"({"error": {"code": ")"} + name_of(code) +
                               R"(", "message": "row 7", "where": "a.csv", "allowed": ["x"], "nearest": "x"}})");
        ASSERT_FALSE(none.ok());
        EXPECT_EQ(none.error().code, code);
        EXPECT_EQ(none.error().where, "a.csv");
        EXPECT_EQ(none.error().nearest, "x");
    }
    EXPECT_EQ(hear(R"({"error": {"code": "new", "message": "m"}})").error().code, ErrorCode::unavailable);
    EXPECT_EQ(hear("no JSON").error().code, ErrorCode::unavailable);
}

TEST_F(DataProcessTest, gives_the_program_the_memory_of_the_job_and_names_the_policy_when_it_is_too_little) {
    const auto none =
        hear(R"({"error": {"code": "resource_exhausted", "message": "memory ran out", "where": "--memory-limit"}})",
             123'456'789);
    EXPECT_NE(arguments().find("--memory-limit 123456789"), std::string::npos) << arguments();
    EXPECT_EQ(none.error().code, ErrorCode::resource_exhausted);
    EXPECT_NE(none.error().text().find("123456789"), std::string::npos);
    EXPECT_NE(none.error().text().find("policy.memory_share_max"), std::string::npos);
}

} // namespace
} // namespace muster::function
