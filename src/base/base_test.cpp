#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/file_replacement.h"
#include "base/guarded.h"
#include "base/id.h"
#include "base/log.h"
#include "base/pattern.h"
#include "base/result.h"
#include "base/time_text.h"

#include <gtest/gtest.h>

#include <map>

namespace muster {
namespace {

Result<int> parse_port(int number) {
    if (number < 1 || number > 65'535) {
        return Error{ErrorCode::invalid_argument, "port out of range: " + std::to_string(number)};
    }
    return number;
}

TEST(Result, carries_the_value_or_the_reason) {
    EXPECT_EQ(*parse_port(443), 443);
    EXPECT_EQ(parse_port(0).error().message, "port out of range: 0");
    EXPECT_EQ(parse_port(0).error().code, ErrorCode::invalid_argument);
}

TEST(Error, names_the_place_the_allowed_values_and_the_nearest) {
    const Error error = not_allowed("/model/family", "mlq", {"mlp", "gbdt"});
    EXPECT_EQ(error.text(), "/model/family: \"mlq\" is not allowed here (allowed: mlp, gbdt); did you mean \"mlp\"?");
    EXPECT_EQ(nearest_of("completely different", {"mlp", "gbdt"}), "");
}

TEST(Guarded, gives_the_data_only_under_the_lock) {
    Guarded<std::map<int, int>> leases;
    leases.with([](auto& map) { map[1] = 2; });
    EXPECT_EQ(leases.with([](const auto& map) { return map.size(); }), 1U);
}

TEST(ManualClock, moves_when_told) {
    ManualClock clock;
    const SteadyTime start = clock.steady_now();
    EXPECT_EQ(rfc3339(clock.wall_now()), "2026-01-01T00:00:00.000Z");
    clock.advance(std::chrono::milliseconds{90'500});
    EXPECT_EQ(clock.steady_now() - start, std::chrono::milliseconds{90'500});
    EXPECT_EQ(rfc3339(clock.wall_now()), "2026-01-01T00:01:30.500Z");
}

TEST(Digest, agrees_with_the_standard_vectors) {
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(to_base64("foob"), "Zm9vYg==");
    EXPECT_EQ(*from_base64("Zm9vYg=="), "foob");
    EXPECT_FALSE(from_base64("Zm9v!").ok());
}

TEST(File, is_replaced_whole_and_read_with_a_limit) {
    const auto path = std::filesystem::temp_directory_path() / ("muster-file-test-" + random_hex(4));
    ASSERT_TRUE(replace_file(path, "one"));
    ASSERT_TRUE(replace_file(path, "two"));
    EXPECT_EQ(*read_file(path), "two");
    EXPECT_EQ(read_file(path, 2).error().code, ErrorCode::resource_exhausted);
    std::filesystem::remove(path);
    EXPECT_EQ(read_file(path).error().code, ErrorCode::not_found);
    EXPECT_EQ(replace_file("/nonexistent/folder/file", "x").error().code, ErrorCode::unavailable);
}

TEST(FileReplacement, leaves_the_old_file_until_it_is_complete) {
    const auto folder = std::filesystem::temp_directory_path() / ("muster-replacement-test-" + random_hex(4));
    std::filesystem::create_directory(folder);
    ASSERT_TRUE(replace_file(folder / "file", "old"));
    for (const bool complete : {false, true}) {
        {
            auto file = FileReplacement::open(folder / "file");
            ASSERT_TRUE(file);
            ASSERT_EQ(::write(file->fd(), "new", 3), 3);
            EXPECT_EQ(*read_file(folder / "file"), "old");
            EXPECT_EQ(file->temporary().parent_path(), folder);
            EXPECT_TRUE(!complete || file->commit());
        }
        EXPECT_EQ(*read_file(folder / "file"), complete ? "new" : "old");
        EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder}, {}), 1);
    }
    EXPECT_EQ(FileReplacement::open(folder / "none" / "file").error().code, ErrorCode::unavailable);
    std::filesystem::remove_all(folder);
}

TEST(Log, quotes_what_would_break_the_line) {
    EXPECT_EQ(log::field("job", "j1"), "job=j1");
    EXPECT_EQ(log::field("why", "disk \"full\"\nnow"), "why=\"disk \\\"full\\\" now\"");
}

TEST(TimeText, reads_dates_and_numbers_and_nothing_else) {
    EXPECT_EQ(parse_time("17.5"), 17.5);
    EXPECT_EQ(parse_time("1970-01-02"), 86'400.0);
    EXPECT_EQ(parse_time(" 2016-01-01T00:00:00 "), 1'451'606'400.0);
    EXPECT_EQ(parse_time("2016-01-01 01:30"), 1'451'606'400.0 + 5400.0);
    EXPECT_EQ(parse_time("2016-01-01T02:00:00.25+02:00"), 1'451'606'400.25);
    EXPECT_EQ(parse_time("2015-12-31T19:00:00Z"), parse_time("2015-12-31T14:00:00-0500"));
    EXPECT_EQ(parse_time("2016-02-29"), parse_time("2016-02-28T24:00"));
    for (const char* wrong : {"",
                              "NA",
                              "inf",
                              "yesterday",
                              "2016-02-30",
                              "2015-02-29",
                              "2016-13-01",
                              "2016-1-1",
                              "2016-01-01T",
                              "2016-01-01T25:00",
                              "2016-01-01T24:01",
                              "2016-01-01T10:60",
                              "2016-01-01T10",
                              "2016-01-01X10:00",
                              "2016-01-01T10:00+15:00",
                              "2016-01-01T10:00Zulu",
                              "01/31/2016"}) {
        EXPECT_FALSE(parse_time(wrong)) << wrong;
    }
}

TEST(Pattern, star_stands_for_any_text) {
    EXPECT_TRUE(matches("SubNetwork=1,*", "SubNetwork=1,ManagedElement=a"));
    EXPECT_TRUE(matches("*analytics", "SubNetwork=1,ManagedElement=analytics"));
    EXPECT_TRUE(matches("a*b*c", "aXXbYYc"));
    EXPECT_TRUE(matches("*", ""));
    EXPECT_FALSE(matches("", "x"));
    EXPECT_FALSE(matches("a*b", "acbd"));
}

TEST(Secret, prints_as_stars) {
    EXPECT_EQ(to_string(Secret{"password"}), "***");
}

} // namespace
} // namespace muster
