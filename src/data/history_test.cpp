#include "base/file.h"
#include "data/folder_fixture.h"
#include "data/history.h"
#include "wire/preprocessing.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace muster::data {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// src/worker/archive_history_test.cpp has the same table and the same answers.
constexpr const char* table = "who,sent,back,y\n"
                              "a,0,10,5\n"
                              "a,4,6,1\n"
                              "a,10,12,3\n"
                              "b,11,20,7\n"
                              "a,13,,9\n"
                              "a,20,21,2\n";

class HistoryTest : public FolderTest {
protected:
    static RecipeHistory history() {
        return {.group = "who",
                .value = "y",
                .now = "sent",
                .known_at = "back",
                .last = 2,
                .window = 2,
                .statistics = {HistoryStatistic::mean,
                               HistoryStatistic::median,
                               HistoryStatistic::minimum,
                               HistoryStatistic::maximum,
                               HistoryStatistic::deviation},
                .outstanding = true,
                .since_last = true};
    }
    static Recipe with(RecipeHistory history) {
        Recipe made = recipe();
        made.data.exclude = {"sent"};
        made.data.history = std::move(history);
        return made;
    }
    Result<std::vector<std::vector<double>>> derive(const std::string& text, const RecipeHistory& how) {
        const auto read = History::read(write("derived.csv", text), how, {}, settings_);
        if (!read) {
            return read.error();
        }
        std::vector<std::vector<double>> rows;
        for (std::int64_t row = 0; row < read->rows(); ++row) {
            rows.emplace_back(history_names(how).size());
            read->derive(row, rows.back());
        }
        return rows;
    }
    static void expect_rows(const std::vector<std::vector<double>>& found,
                            const std::vector<std::vector<double>>& expected) {
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t row = 0; row < found.size(); ++row) {
            ASSERT_EQ(found[row].size(), expected[row].size());
            for (std::size_t column = 0; column < found[row].size(); ++column) {
                EXPECT_TRUE(found[row][column] == expected[row][column] ||
                            (std::isnan(found[row][column]) && std::isnan(expected[row][column])))
                    << "row " << row << ", column " << column << ": " << found[row][column];
            }
        }
    }
};

TEST_F(HistoryTest, has_what_was_known_before_the_row_and_nothing_later) {
    EXPECT_EQ(history_names(history()),
              (std::vector<std::string>{"y_last_1",
                                        "y_last_2",
                                        "y_mean_2",
                                        "y_median_2",
                                        "y_min_2",
                                        "y_max_2",
                                        "y_std_2",
                                        "y_outstanding",
                                        "y_since_last"}));
    const auto rows = derive(table, history());
    ASSERT_TRUE(rows) << rows.error().text();
    expect_rows(*rows,
                {{none, none, none, none, none, none, none, 0, none},
                 {none, none, none, none, none, none, none, 1, none},
                 {1, none, 1, 1, 1, 1, 0, 1, 4}, // what comes at 10 comes too late
                 {none, none, none, none, none, none, none, 0, none},
                 {3, 5, 4, 4, 3, 5, 1, 0, 1},
                 {3, 5, 4, 4, 3, 5, 1, 1, 8}}); // what never came is outstanding
}

TEST_F(HistoryTest, of_a_table_without_groups_and_delays_is_that_of_the_rows_before) {
    const auto rows = derive("day,y\n2020-01-02,2\n2020-01-01,1\n2020-01-03,\n2020-01-04,4\n",
                             {.value = "y", .now = "day", .last = 1, .since_last = true});
    ASSERT_TRUE(rows) << rows.error().text();
    expect_rows(*rows, {{1, 86'400}, {none, none}, {2, 86'400}, {2, 2.0 * 86'400}});
}

TEST_F(HistoryTest, becomes_inputs_that_are_learned_like_others) {
    const auto made = encode(table, with(history()));
    ASSERT_TRUE(made) << made.error().text();
    const auto text = read_file(made->folder / "matrix.json");
    const auto how = wire::preprocessing_from_json(nlohmann::json::parse(*text).at("preprocessing"));
    ASSERT_TRUE(how) << how.error().text();
    EXPECT_EQ(how->history, history());
    ASSERT_EQ(how->inputs.size(), 9U) << "neither the group nor the times nor the value itself";
    EXPECT_EQ(how->inputs[0].name, "y_last_1");
    EXPECT_TRUE(how->inputs[0].missing_flag);
    EXPECT_DOUBLE_EQ(how->inputs[0].mean, (1.0 + 3.0 + 3.0) / 3.0);
    EXPECT_EQ(how->inputs[7].name, "y_outstanding");
    EXPECT_DOUBLE_EQ(how->inputs[7].mean, 3.0 / 6.0);
    EXPECT_FALSE(how->inputs[7].missing_flag);
    const auto features = floats(made->folder / "train.features");
    ASSERT_EQ(std::ssize(features), 6 * made->info.columns);
    EXPECT_FLOAT_EQ(features[0], 0.0F) << "missing: the mean";
    EXPECT_FLOAT_EQ(features[1], 1.0F) << "and a flag";
    const auto plain = encode(table, [&] {
        auto other = with(history());
        other.data.history->last = 1;
        return other;
    }());
    ASSERT_TRUE(plain) << plain.error().text();
    EXPECT_NE(plain->folder, made->folder) << "another history, another matrix";
}

TEST_F(HistoryTest, does_not_depend_on_how_the_source_is_cut_into_blocks) {
    std::string text = "who,sent,back,y\n";
    for (int i = 0; i < 5000; ++i) {
        text += std::string{i % 3 == 0 ? "a" : "b"} + "," + std::to_string(i) + "," + std::to_string(i + i % 7) + "," +
                std::to_string(i * i % 101) + "\n";
    }
    const auto whole = encode(text, with(history()));
    ASSERT_TRUE(whole) << whole.error().text();
    settings_.block_bytes = 4096;
    std::filesystem::remove_all(folder_ / "cache");
    const auto cut = encode(text, with(history()));
    ASSERT_TRUE(cut) << cut.error().text();
    EXPECT_EQ(cut->info.digest, whole->info.digest);
}

TEST_F(HistoryTest, refuses_what_it_cannot_mean_with_the_place) {
    struct Case {
        const char* text;
        const char* where;
    };
    for (const Case& each : {Case{"who,sent,back,y\na,0,1,5\n,1,2,5\n", "row 3, column who"},
                             Case{"who,sent,back,y\na,soon,1,5\n", "row 2, column sent"},
                             Case{"who,sent,back,y\na,5,4,5\n", "row 2, column back"},
                             Case{"who,sent,back,y\na,5,later,5\n", "row 2, column back"},
                             Case{"who,sent,back,y\na,5,6,much\n", "row 2, column y"}}) {
        const auto rows = derive(each.text, history());
        ASSERT_FALSE(rows) << each.text;
        EXPECT_TRUE(rows.error().where.ends_with(each.where)) << rows.error().text();
    }
    auto wrong = history();
    wrong.known_at = "bak";
    const auto unknown = encode(table, with(wrong));
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().where, "/data/history/known_at");
    EXPECT_EQ(unknown.error().nearest, "back");
    const auto twice = encode("who,sent,back,y,y_last_1\na,0,1,2,3\n", with(history()));
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().where, "/data/history");
}

} // namespace
} // namespace muster::data
