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

TEST(Metrics, leaves_out_what_is_not_defined) {
    const std::vector<double> values{0.9, 0.8};
    const std::vector<float> target{1, 1};
    EXPECT_EQ(value(scores_of({.task = TaskKind::binary, .values = values, .target = target}), "AUC"), -1.0);
    EXPECT_EQ(value(scores_of({.values = values, .target = target}), "R2"), -1.0);
    EXPECT_TRUE(scores_of({}).empty());
}

} // namespace
} // namespace muster::worker
