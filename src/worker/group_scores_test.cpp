#include "worker/group_scores.h"
#include "worker/testing_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>

namespace muster::worker {
namespace {

const Preprocessing preprocessing{
    .inputs = {{.name = "x", .missing_flag = true},
               {.name = "cell", .kind = ColumnKind::category, .categories = {"a", "b"}, .missing_flag = true}},
    .target = {.name = "y"}};

TEST(GroupScores, are_those_of_the_rows_of_each_category) {
    const TestingFolder folder;
    // x, its flag, a, b, the flag of cell
    const MatrixInfo info =
        folder.write({{9, 0, 1, 0, 0}, {9, 0, 0, 1, 0}, {1, 1, 1, 0, 0}, {9, 0, 0, 0, 1}}, {1.0F, 2.0F, 3.0F, 4.0F});
    const auto matrices = open_matrices(folder.path(), info);
    ASSERT_TRUE(matrices.ok()) << matrices.error().text();
    Recipe recipe{.name = "r", .report_by = {"cell"}};
    const std::vector<std::int64_t> rows{3, 2, 1, 0};
    const std::vector<double> values{4.5, 3.0, 2.0, 3.0};
    const std::vector<float> target{4.0F, 3.0F, 2.0F, 1.0F};
    const auto groups =
        group_scores(recipe, preprocessing, matrices->train, rows, {.values = values, .target = target});
    ASSERT_EQ(groups.size(), 3U);
    const std::vector<std::tuple<std::string, std::int64_t, double>> expected{
        {"a", 2, 1.0}, {"b", 1, 0.0}, {"", 1, 0.5}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto& [name, count, error] = expected[i];
        EXPECT_EQ(groups[i].input, "cell");
        EXPECT_EQ(groups[i].name, name);
        EXPECT_EQ(groups[i].rows, count);
        const auto mean = std::ranges::find(groups[i].scores, "MAE", &Score::metric);
        ASSERT_NE(mean, groups[i].scores.end());
        EXPECT_DOUBLE_EQ(mean->value, error);
    }
}

TEST(GroupScores, are_by_categories_only) {
    EXPECT_TRUE(check_report_by({.name = "r", .report_by = {"cell"}}, preprocessing).ok());
    const auto number = check_report_by({.name = "r", .report_by = {"cell", "x"}}, preprocessing);
    ASSERT_FALSE(number.ok());
    EXPECT_EQ(number.error().where, "/report_by/1");
    EXPECT_EQ(number.error().allowed, (std::vector<std::string>{"cell"}));
    EXPECT_EQ(check_report_by({.name = "r", .report_by = {"cel"}}, preprocessing).error().nearest, "cell");
}

} // namespace
} // namespace muster::worker
