#include "auth/audit.h"
#include "base/file.h"
#include "base/id.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <thread>

namespace muster::auth {
namespace {

class Audit : public testing::Test {
public:
    Audit() { std::filesystem::create_directories(folder_); }
    ~Audit() override { std::filesystem::remove_all(folder_); }

protected:
    static std::vector<nlohmann::json> lines(const std::filesystem::path& path) {
        std::vector<nlohmann::json> all;
        std::istringstream text{read_file(path).value()};
        for (std::string line; std::getline(text, line);) {
            all.push_back(nlohmann::json::parse(line, nullptr, false));
        }
        return all;
    }
    [[nodiscard]] std::unique_ptr<AuditLog> open(AuditSettings settings = {}) const {
        auto log = AuditLog::open(path_, clock_, settings);
        EXPECT_TRUE(log) << log.error().text();
        return std::move(log).value();
    }

    std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("muster-audit-" + random_hex(8));
    std::filesystem::path path_ = folder_ / "audit.jsonl";
    ManualClock clock_;
};

TEST_F(Audit, writes_one_json_line_for_each_record_in_order) {
    const auto log = open();
    ASSERT_TRUE(log->append({"muster://consumer/oss", "create", "SubNetwork=1", Outcome::done}));
    ASSERT_TRUE(log->append({"10.0.0.1", "delete", "a\nb\"\xFF", Outcome::refused, "no permission"}));
    const auto all = lines(path_);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0],
              (nlohmann::json{{"time", "2026-01-01T00:00:00.000Z"},
                              {"caller", "muster://consumer/oss"},
                              {"operation", "create"},
                              {"object", "SubNetwork=1"},
                              {"outcome", "done"},
                              {"reason", ""}}));
    EXPECT_EQ(all[1]["object"], "a\nb\"\xEF\xBF\xBD") << "no caller can forge a line or break the JSON";
    EXPECT_EQ(all[1]["outcome"], "refused");
}

TEST_F(Audit, appends_after_a_restart_and_ends_a_line_that_a_crash_left_open) {
    ASSERT_TRUE(open()->append({"a", "create", "x", Outcome::done}));
    std::ofstream{path_, std::ios::app} << "{\"time\":\"2026";
    ASSERT_TRUE(open()->append({"b", "create", "y", Outcome::failed, "disk"}));
    const auto all = lines(path_);
    ASSERT_EQ(all.size(), 3U);
    EXPECT_TRUE(all[1].is_discarded());
    EXPECT_EQ(all[2]["caller"], "b");
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms{0600});
}

TEST_F(Audit, rotates_by_size_and_keeps_a_bounded_number_of_files) {
    const auto log = open({.bytes_max = 4'096, .files_max = 3});
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(log->append({"caller", "create", "object " + std::to_string(i), Outcome::done}));
    }
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator{folder_}) {
        EXPECT_LE(entry.file_size(), 4'096U);
        ++files;
    }
    EXPECT_EQ(files, 3);
    EXPECT_EQ(lines(path_).back()["object"], "object 199");
    // Nothing is lost or out of order between one file and the next.
    const auto newest_of_older = lines(path_.string() + ".1").back()["object"].get<std::string>();
    const auto oldest_of_newest = lines(path_).front()["object"].get<std::string>();
    EXPECT_EQ(std::stoi(newest_of_older.substr(7)) + 1, std::stoi(oldest_of_newest.substr(7)));
}

TEST_F(Audit, moves_older_files_only_when_there_is_a_newer_one) {
    const auto log = open({.bytes_max = 4'096, .files_max = 3});
    const auto fill = [&] {
        const auto files = std::distance(std::filesystem::directory_iterator{folder_}, {});
        while (std::distance(std::filesystem::directory_iterator{folder_}, {}) == files) {
            ASSERT_TRUE(log->append({"caller", "create", "object", Outcome::done}));
        }
    };
    fill(); // now audit.jsonl and audit.jsonl.1
    std::filesystem::remove(path_);
    fill(); // audit.jsonl is back, and .1 did not become .2
    EXPECT_TRUE(std::filesystem::exists(path_.string() + ".1"));
    EXPECT_FALSE(std::filesystem::exists(path_.string() + ".2"));
}

TEST_F(Audit, keeps_lines_apart_when_many_threads_write) {
    const auto log = open();
    {
        std::vector<std::jthread> writers;
        for (int writer = 0; writer < 4; ++writer) {
            writers.emplace_back([&log, writer] {
                for (int i = 0; i < 25; ++i) {
                    EXPECT_TRUE(log->append({std::to_string(writer), "read", std::string(500, 'x'), Outcome::done}));
                }
            });
        }
    }
    const auto all = lines(path_);
    EXPECT_EQ(all.size(), 100U);
    for (const auto& line : all) {
        EXPECT_FALSE(line.is_discarded());
    }
}

TEST_F(Audit, cuts_what_is_too_long) {
    const auto log = open();
    ASSERT_TRUE(log->append({"c", "create", std::string(1'000'000, 'x'), Outcome::refused, "too long"}));
    EXPECT_EQ(lines(path_).front()["object"].get<std::string>().size(), 4'096U);
}

TEST_F(Audit, says_why_it_cannot_write) {
    const auto refused = AuditLog::open(folder_ / "missing" / "audit.jsonl", clock_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_NE(refused.error().message.find("No such file or directory"), std::string::npos);
    EXPECT_FALSE(AuditLog::open(path_, clock_, {.bytes_max = 1}));

    const auto full = AuditLog::open("/dev/full", clock_); // a disk without room
    ASSERT_TRUE(full) << full.error().text();
    const auto failed = (*full)->append({"c", "create", "x", Outcome::done});
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("No space left on device"), std::string::npos) << failed.error().text();
}

} // namespace
} // namespace muster::auth
