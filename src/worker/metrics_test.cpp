#include "worker/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace muster::worker {
namespace {

double value(const std::vector<Score>& scores, const std::string& metric) {
    const auto found = std::ranges::find(scores, metric, &Score::metric);
    return found == scores.end() ? -1.0 : found->value;
}

TEST(Metrics, of_a_regression_are_in_the_unit_of_the_target) {
    const std::vector<double> values{2.0, 2.0, 7.0, 9.0};
    const std::vector<float> target{1.0F, 3.0F, 5.0F, 7.0F};
    const auto scores = scores_of({.values = values, .target = target});
    EXPECT_DOUBLE_EQ(value(scores, "MAE"), 1.5);
    EXPECT_DOUBLE_EQ(value(scores, "MSE"), 2.5);
    EXPECT_DOUBLE_EQ(value(scores, "RMSE"), std::sqrt(2.5));
    EXPECT_DOUBLE_EQ(value(scores, "R2"), 50.0);
    EXPECT_NEAR(value(scores, "MAPE"), 100.0 * (1.0 + 1.0 / 3 + 2.0 / 5 + 2.0 / 7) / 4, 1e-9);
}

TEST(Metrics, of_relative_errors_leave_out_targets_of_0) {
    const std::vector<double> values{2.0, 3.0};
    const std::vector<float> target{0.0F, 2.0F};
    EXPECT_DOUBLE_EQ(value(scores_of({.values = values, .target = target}), "MAPE"), 50.0);
    const std::vector<float> none{0.0F, 0.0F};
    EXPECT_EQ(value(scores_of({.values = values, .target = none}), "MAPE"), -1.0);
}

// Reference values: sklearn.metrics of the same numbers.
TEST(Metrics, of_two_classes_equal_those_of_sklearn) {
    const std::vector<double> values{0.1, 0.4, 0.35, 0.8, 0.6, 0.5};
    const std::vector<float> target{0, 0, 1, 1, 0, 1};
    const auto scores = scores_of({.task = TaskKind::binary, .values = values, .target = target});
    EXPECT_NEAR(value(scores, "accuracy"), 400.0 / 6, 1e-9);
    EXPECT_NEAR(value(scores, "precision"), 200.0 / 3, 1e-9);
    EXPECT_NEAR(value(scores, "recall"), 200.0 / 3, 1e-9);
    EXPECT_NEAR(value(scores, "F1"), 200.0 / 3, 1e-9);
    EXPECT_NEAR(value(scores, "AUC"), 600.0 / 9, 1e-9);
    EXPECT_NEAR(value(scores, "balanced_accuracy"), 200.0 / 3, 1e-9);
    EXPECT_NEAR(value(scores, "log_loss"), 0.583098, 1e-6);
}

TEST(Metrics, of_rare_classes_are_not_hidden_by_frequent_ones) {
    const std::vector<double> values{0.1, 0.1, 0.1, 0.1};
    const std::vector<float> target{0, 0, 0, 1};
    const auto scores = scores_of({.task = TaskKind::binary, .values = values, .target = target});
    EXPECT_NEAR(value(scores, "accuracy"), 75.0, 1e-9);
    EXPECT_NEAR(value(scores, "balanced_accuracy"), 50.0, 1e-9);
}

TEST(Metrics, of_what_is_no_probability_have_no_log_loss) {
    const std::vector<double> values{-0.3, 1.4};
    const std::vector<float> target{0, 1};
    const auto scores =
        scores_of({.task = TaskKind::binary, .values = values, .target = target, .probabilities = false});
    EXPECT_EQ(value(scores, "log_loss"), -1.0);
    EXPECT_NEAR(value(scores, "accuracy"), 100.0, 1e-9);
}

TEST(Metrics, of_what_is_sure_and_wrong_stay_finite) {
    const std::vector<double> values{1.0};
    const std::vector<float> target{0};
    EXPECT_NEAR(value(scores_of({.task = TaskKind::binary, .values = values, .target = target}), "log_loss"),
                -std::log(1e-15),
                1e-9);
}

TEST(Metrics, share_the_rank_of_tied_scores) {
    const std::vector<double> values{0.5, 0.5, 0.5, 0.5};
    const std::vector<float> target{0, 1, 0, 1};
    EXPECT_NEAR(value(scores_of({.task = TaskKind::binary, .values = values, .target = target}), "AUC"), 50.0, 1e-9);
}

TEST(Metrics, of_several_classes_are_means_over_the_classes_that_occur) {
    const std::vector<double> values{0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.6, 0.3, 0.1, 0.1, 0.8, 0.1};
    const std::vector<float> target{0, 1, 1, 1}; // no row of class 2
    const auto scores = scores_of({.task = TaskKind::multiclass, .outputs = 3, .values = values, .target = target});
    EXPECT_NEAR(value(scores, "accuracy"), 75.0, 1e-9);
    EXPECT_NEAR(value(scores, "precision"), 100.0 * (0.5 + 1.0) / 2, 1e-9);
    EXPECT_NEAR(value(scores, "recall"), 100.0 * (1.0 + 2.0 / 3) / 2, 1e-9);
    EXPECT_NEAR(value(scores, "AUC"), 100.0, 1e-9);
}

TEST(ClassResults, say_what_was_taken_for_what) {
    const std::vector<double> values{0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.6, 0.3, 0.1, 0.1, 0.8, 0.1};
    const std::vector<float> target{0, 1, 1, 1};
    const std::vector<std::string> names{"idle", "busy", "down"};
    const auto results =
        class_results_of({.task = TaskKind::multiclass, .outputs = 3, .values = values, .target = target}, names);
    EXPECT_EQ(results.confusion, (std::vector<std::vector<std::int64_t>>{{1, 0, 0}, {1, 2, 0}, {0, 0, 0}}));
    ASSERT_EQ(results.classes.size(), 3U);
    EXPECT_EQ(results.classes[1].name, "busy");
    EXPECT_EQ(results.classes[1].rows, 3);
    EXPECT_NEAR(value(results.classes[1].scores, "precision"), 100.0, 1e-9);
    EXPECT_NEAR(value(results.classes[1].scores, "recall"), 200.0 / 3, 1e-9);
    EXPECT_NEAR(value(results.classes[0].scores, "precision"), 50.0, 1e-9);
    EXPECT_NEAR(value(results.classes[0].scores, "AUC"), 100.0, 1e-9);
    EXPECT_EQ(value(results.classes[2].scores, "AUC"), -1.0) << "does not occur";
}

TEST(ClassResults, of_one_output_are_of_both_classes) {
    const std::vector<double> values{0.1, 0.6, 0.9};
    const std::vector<float> target{0, 0, 1};
    const std::vector<std::string> names{"no", "yes"};
    const auto results = class_results_of({.task = TaskKind::binary, .values = values, .target = target}, names);
    EXPECT_EQ(results.confusion, (std::vector<std::vector<std::int64_t>>{{1, 1}, {0, 1}}));
    ASSERT_EQ(results.classes.size(), 2U);
    EXPECT_NEAR(value(results.classes[0].scores, "recall"), 50.0, 1e-9);
    EXPECT_NEAR(value(results.classes[1].scores, "precision"), 50.0, 1e-9);
}

TEST(ClassResults, of_many_classes_are_the_most_frequent_and_no_matrix) {
    constexpr std::size_t classes = 2 * reported_classes_max;
    std::vector<std::string> names(classes, "class");
    std::vector<float> target;
    for (std::size_t each = 0; each < classes; ++each) {
        target.insert(target.end(), each % 2 == 0 ? 1 : 2, static_cast<float>(each)); // odd ones twice
    }
    const std::vector<double> values(target.size() * classes, 0.0);
    const auto results = class_results_of(
        {.task = TaskKind::multiclass, .outputs = std::int64_t{classes}, .values = values, .target = target}, names);
    EXPECT_TRUE(results.confusion.empty());
    ASSERT_EQ(results.classes.size(), reported_classes_max);
    EXPECT_TRUE(std::ranges::all_of(results.classes, [](const ClassScores& each) { return each.rows == 2; }));
}

TEST(ClassResults, of_a_regression_are_none) {
    const std::vector<double> values{1.0};
    const std::vector<float> target{1.0F};
    EXPECT_TRUE(class_results_of({.values = values, .target = target}, {}).classes.empty());
}

TEST(Metrics, leaves_out_what_is_not_defined) {
    const std::vector<double> values{0.9, 0.8};
    const std::vector<float> target{1, 1};
    EXPECT_EQ(value(scores_of({.task = TaskKind::binary, .values = values, .target = target}), "AUC"), -1.0);
    EXPECT_EQ(value(scores_of({.values = values, .target = target}), "R2"), -1.0);
    EXPECT_TRUE(scores_of({}).empty());
}

} // namespace
} // namespace muster::worker
