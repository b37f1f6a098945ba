#include "base/file.h"
#include "data/folder_fixture.h"
#include "data/windows.h"
#include "wire/preprocessing.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace muster::data {
namespace {

constexpr float none = std::numeric_limits<float>::quiet_NaN();

class Windows : public FolderTest {
protected:
    static Recipe forecast(std::int64_t length, std::int64_t horizon, std::string time = {}, std::string series = {}) {
        Recipe made = recipe();
        made.data.windows =
            RecipeWindows{.length = length, .horizon = horizon, .time = std::move(time), .series = std::move(series)};
        made.model = {.family = "gru", .layers = 1, .width = 4};
        return made;
    }
    /// NaN equals NaN here.
    static void expect_targets(const std::filesystem::path& file, const std::vector<float>& expected) {
        const auto found = floats(file);
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
            EXPECT_TRUE(found[i] == expected[i] || (std::isnan(found[i]) && std::isnan(expected[i])))
                << "row " << i << " has " << found[i] << " and not " << expected[i];
        }
    }
};

TEST_F(Windows, have_the_target_of_a_later_row_and_its_past_among_the_inputs) {
    const auto made = encode("x,y\n1,10\n3,20\n1,30\n3,40\n", forecast(2, 1));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 2);
    EXPECT_EQ(made->info.rows, 4);
    const auto features = floats(made->folder / "train.features");
    EXPECT_EQ(features[0], -1);
    EXPECT_FLOAT_EQ(features[1], -15.0F / std::sqrt(125.0F)) << "the target's own value, standardised";
    expect_targets(made->folder / "train.target", {series_begins, 30, 40, none});
}

TEST_F(Windows, put_the_rows_of_each_series_in_the_order_of_time) {
    const auto made = encode("cell,t,y\nb,2,5\na,1,1\nb,1,4\na,3,3\na,2,2\nb,3,6\n", forecast(2, 1, "t", "cell"));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 1) << "neither the series nor a time that only counts is an input";
    const auto rows = floats(made->folder / "train.features");
    EXPECT_TRUE(rows[0] < rows[1] && rows[1] < rows[2]) << "b comes first in the file: 4 5 6";
    EXPECT_TRUE(rows[3] < rows[4] && rows[4] < rows[5] && rows[5] < rows[0]) << "then a: 1 2 3";
    expect_targets(made->folder / "train.target", {series_begins, 6, none, series_begins, 3, none});
    EXPECT_FALSE(std::filesystem::exists(made->folder / "train.unordered"));
}

TEST_F(Windows, take_no_row_for_a_missing_one) {
    const std::string rows = "2020-01-01T00:00,1\n2020-01-01T01:00,2\n2020-01-01T02:00,3\n2020-01-01T04:00,5\n"
                             "2020-01-01T05:00,6\n";
    const auto next = encode("when,y\n" + rows, forecast(2, 1, "when"));
    ASSERT_TRUE(next) << next.error().text();
    EXPECT_EQ(next->info.columns, 5) << "a date is an input";
    expect_targets(next->folder / "train.target", {series_begins, 3, none, 6, none});
    const auto two = encode("when,y\n" + rows, forecast(2, 2, "when"));
    ASSERT_TRUE(two) << two.error().text();
    expect_targets(two->folder / "train.target", {series_begins, none, 5, none, none});
}

TEST_F(Windows, leave_out_targets_that_are_missing) {
    const auto made = encode("y\n1\n2\nNA\n4\n5\n", forecast(2, 1));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 2) << "and say so among the inputs";
    expect_targets(made->folder / "train.target", {series_begins, none, 4, 5, none});
    const auto text = read_file(made->folder / "matrix.json");
    const auto learned = wire::preprocessing_from_json(nlohmann::json::parse(*text).at("preprocessing"));
    EXPECT_EQ(learned->target.median, 3) << "of the values there are";
}

TEST_F(Windows, forecast_classes_too) {
    Recipe how = forecast(2, 1);
    how.loss = Loss::binary_cross_entropy;
    const auto made = encode("y\nup\ndown\nup\nup\n", how);
    ASSERT_TRUE(made) << made.error().text();
    expect_targets(made->folder / "train.target", {series_begins, 1, 1, none});
}

TEST_F(Windows, refuse_what_has_no_place_in_a_series) {
    struct Case {
        const char* source;
        const char* where;
        const char* message;
    };
    for (const Case& each : {Case{"c,t,y\na,1,1\na,today,2\n", "train.csv: row 3, column t", "is no time"},
                             Case{"c,t,y\na,1,1\na,,2\n", "train.csv: row 3, column t", "is no time"},
                             Case{"c,t,y\na,1,1\n,2,2\n", "train.csv: row 3, column c", "no series is named"},
                             Case{"c,t,y\na,2,1\nb,2,2\na,2,3\n", "train.csv: row 4, column t", "that of row 2"},
                             Case{"c,t,y\na,1,1\na,2,2\nb,3,3\n", "train.csv", "no series has 2 rows and 1 more"},
                             Case{"c,when,y\na,1,1\n", "/data/windows/time", ""}}) {
        const auto made = encode(each.source, forecast(2, 1, "t", "c"));
        ASSERT_FALSE(made) << each.source;
        EXPECT_TRUE(made.error().where.ends_with(each.where)) << made.error().text();
        EXPECT_NE(made.error().text().find(each.message), std::string::npos) << made.error().text();
    }
    const auto made = encode("t,y\n1,1\n2,2\n3,3\n4,4\n", forecast(2, 1, "t"), "t,y\n1,1\n3,2\n5,3\n7,4\n");
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().text().find("2 apart in time, those of training 1"), std::string::npos)
        << made.error().text();
}

} // namespace
} // namespace muster::data
