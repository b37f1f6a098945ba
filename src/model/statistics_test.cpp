#include "model/recipe.h"
#include "model/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>

namespace muster {
namespace {

ColumnStatistics numbers(const std::string& name, const std::vector<double>& values) {
    ColumnStatistics column{.name = name, .values = std::ssize(values)};
    for (const double value : values) {
        column.mean += value / static_cast<double>(values.size());
    }
    for (const double value : values) {
        column.squares += (value - column.mean) * (value - column.mean);
    }
    return column;
}

ColumnStatistics categories(const std::string& name, const std::vector<CategoryCount>& counts) {
    ColumnStatistics column{.name = name, .kind = ColumnKind::category, .categories = counts};
    for (const CategoryCount& count : counts) {
        column.values += count.rows;
    }
    return column;
}

TableStatistics table(const std::vector<double>& x, std::vector<double> y, const std::vector<CategoryCount>& cells) {
    TableStatistics made{.rows = std::ssize(x), .inputs = {numbers("x", x), categories("cell", cells)}};
    made.target = numbers("y", y);
    made.target_groups = groups_of(std::move(y), 10);
    return made;
}

TEST(Statistics, of_sites_merge_into_those_of_their_union) {
    std::mt19937_64 random{3};
    std::normal_distribution<double> normal{1e6, 0.1}; // far away with a small spread
    std::vector<double> all(1'000);
    for (double& value : all) {
        value = normal(random);
    }
    const auto part = [&](std::size_t begin, std::size_t end) {
        const std::vector<double> own{all.begin() + static_cast<std::ptrdiff_t>(begin),
                                      all.begin() + static_cast<std::ptrdiff_t>(end)};
        return table(own, own, {{"a", 20}, {begin == 0 ? "b" : "c", 30}});
    };
    const std::vector<SiteStatistics> sites{{"s1", part(0, 100)}, {"s2", part(100, 130)}, {"s3", part(130, 1'000)}};
    const auto made = merged(sites);
    ASSERT_TRUE(made.ok());
    const ColumnStatistics whole = numbers("x", all);
    EXPECT_EQ(made->rows, 1'000);
    EXPECT_EQ(made->inputs[0].values, 1'000);
    EXPECT_NEAR(made->inputs[0].mean, whole.mean, 1e-9);
    EXPECT_NEAR(made->inputs[0].squares / whole.squares, 1.0, 1e-9);
    EXPECT_EQ(made->inputs[1].categories, (std::vector<CategoryCount>{{"a", 60}, {"b", 30}, {"c", 60}}));
    const auto preprocessing = preprocessing_of(*made, Recipe{.loss = Loss::mse});
    ASSERT_TRUE(preprocessing.ok());
    std::ranges::sort(all);
    EXPECT_NEAR(preprocessing->target.median, 0.5 * (all[499] + all[500]), 0.01);
    EXPECT_NEAR(preprocessing->inputs[0].scale, std::sqrt(whole.squares / 1'000.0), 1e-9);
    EXPECT_EQ(preprocessing->inputs[1].categories, (std::vector<std::string>{"a", "b", "c"}));
}

TEST(Statistics, of_few_rows_are_taken_out) {
    std::vector<double> x(50);
    std::iota(x.begin(), x.end(), 0.0);
    auto made = table(x, x, {{"common", 41}, {"rare", 9}});
    made.inputs.push_back(numbers("seldom", {1, 2, 3}));
    const auto kept = without_small_groups(made, 10);
    ASSERT_TRUE(kept.ok());
    EXPECT_EQ(kept->inputs[0], made.inputs[0]);
    EXPECT_EQ(kept->inputs[1].categories, (std::vector<CategoryCount>{{"common", 41}}));
    EXPECT_EQ(kept->inputs[2].values, 0);
    EXPECT_EQ(kept->inputs[2].mean, 0.0);
    EXPECT_EQ(kept->target_groups.size(), 5U);
    for (const ValueGroup& group : kept->target_groups) {
        EXPECT_GE(group.rows, 10);
    }
    EXPECT_FALSE(without_small_groups(table({1, 2}, {1, 2}, {}), 10).ok());
}

TEST(Statistics, of_sites_with_other_columns_are_refused_with_both_names) {
    const SiteStatistics first{"gnb-1", table({1, 2}, {1, 2}, {{"a", 2}})};
    const auto words = [&](const TableStatistics& other) {
        const auto made = merged(std::vector{first, SiteStatistics{"gnb-2", other}});
        return made ? std::string{} : made.error().text();
    };
    auto other = first.table;
    other.inputs[1].name = "cells";
    EXPECT_NE(words(other).find("cell"), std::string::npos);
    EXPECT_NE(words(other).find("at gnb-1, but not at gnb-2"), std::string::npos);
    other = first.table;
    other.inputs[0] = categories("x", {{"1", 2}});
    EXPECT_NE(words(other).find("a number at gnb-1"), std::string::npos);
    other = first.table;
    other.inputs[0] = {.name = "x", .kind = ColumnKind::category, .missing = true}; // without values: of any kind
    EXPECT_EQ(words(other), "");
}

TEST(Statistics, of_classes_need_two_over_all_sites_and_not_at_each) {
    const auto site = [](const std::string& cell) {
        return TableStatistics{
            .rows = 20, .inputs = {numbers("x", {1, 2, 3})}, .target = categories("y", {{cell, 20}})};
    };
    const auto both = merged(std::vector<SiteStatistics>{{"s1", site("yes")}, {"s2", site("no")}});
    ASSERT_TRUE(both.ok());
    const auto made = preprocessing_of(*both, Recipe{.loss = Loss::binary_cross_entropy});
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->target.categories, (std::vector<std::string>{"no", "yes"}));
    EXPECT_FALSE(preprocessing_of(site("yes"), Recipe{.loss = Loss::binary_cross_entropy}).ok());
}

TEST(Statistics, give_the_middle_of_values) {
    EXPECT_EQ(median_of(groups_of({3, 1, 2}, 1)), 2.0);
    EXPECT_EQ(median_of(groups_of({4, 1, 2, 3}, 1)), 2.5);
    EXPECT_EQ(median_of(std::vector<ValueGroup>{}), 0.0);
    EXPECT_TRUE(groups_of({1, 2, 3}, 10).empty());
}

TEST(Recipe, says_what_rows_that_stay_at_their_sites_rule_out) {
    const auto where = [](const std::function<void(Recipe&)>& change) {
        Recipe recipe{.name = "r", .data = {.source = "s", .target = "y"}};
        recipe.data.layout = LayoutKind::pinned;
        change(recipe);
        const auto checked = check(recipe);
        return checked ? std::string{} : checked.error().where;
    };
    EXPECT_EQ(where([](Recipe&) {}), "");
    EXPECT_EQ(where([](Recipe& r) { r.distribution.strategy = DistributionKind::one_function; }),
              "/distribution/strategy");
    EXPECT_EQ(where([](Recipe& r) { r.optimizer.state = StateKind::sharded; }), "/optimizer/state");
    EXPECT_EQ(where([](Recipe& r) { r.report_by = {"cell"}; }), "/report_by");
    EXPECT_EQ(where([](Recipe& r) {
                  r.loss = Loss::binary_cross_entropy;
                  r.metrics = {"auc"};
              }),
              "/metrics");
}

} // namespace
} // namespace muster
