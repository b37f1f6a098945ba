#include "model/calibration.h"
#include "model/messages.h"
#include "model/plan.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/score.h"
#include "model/scoring.h"

#include <gtest/gtest.h>

#include <array>

namespace muster {
namespace {

TEST(Calibration, fits_a_line_and_ignores_one_outlier) {
    const Calibration measured{.steps = {{256, 0.010}, {512, 0.015}, {1024, 0.025}}};
    EXPECT_NEAR(measured.fit().per_row, 0.010 / 512, 1e-9);
    EXPECT_NEAR(measured.fit().fixed, 0.005, 1e-9);
}

TEST(Calibration, never_predicts_less_memory_than_the_smaller_measurement) {
    const Calibration measured{.memory = {{256, 100'000'000}, {1024, 110'000'000}}};
    EXPECT_EQ(measured.memory_at(256), 100'000'000);
    EXPECT_NEAR(static_cast<double>(measured.memory_at(2048)), 123.3e6, 1e5);
    EXPECT_EQ(measured.memory_at(1), 100'000'000);
}

TEST(Scoring, counts_validation_each_epoch_and_every_set_of_rows_at_the_end) {
    const Recipe recipe{.loss = Loss::l1, .epochs = 8};
    const auto work = scoring_work(
        recipe,
        {.training_rows = 50'000, .validation_rows = 5'000, .test_rows = 7'000, .columns = 20, .parameters = 99});
    EXPECT_EQ(work.rows, 8 * 5'000 + 50'000 + 5'000 + 7'000);
    EXPECT_EQ(work.baseline_passes, 50'000 * 16);
    EXPECT_EQ(work.columns, 20);
    EXPECT_EQ(work.parameters, 99);
}

TEST(Scoring, knows_the_limits_of_sample_and_baselines) {
    DataShape shape{.training_rows = 1'000'000, .columns = 200};
    EXPECT_EQ(scoring_work({.loss = Loss::l1}, shape).rows, 65'536);
    EXPECT_EQ(scoring_work({.loss = Loss::l1}, shape).baseline_passes, 200'000) << "too wide to be reweighted";
    shape.columns = 20;
    EXPECT_EQ(scoring_work({.loss = Loss::mse}, shape).baseline_passes, 200'000);
    shape.columns = 2'000;
    EXPECT_EQ(scoring_work({.loss = Loss::l1}, shape).baseline_passes, 0);
}

TEST(Scoring, counts_samples_of_a_text_whose_matrix_has_a_row_for_each_token) {
    const Recipe recipe{.data = {.text = RecipeText{TextUnit::byte, 128}}, .loss = Loss::cross_entropy, .epochs = 2};
    const auto work = scoring_work(
        recipe, {.training_rows = 7'000, .validation_rows = 300, .test_rows = 128'100, .columns = 1, .parameters = 9});
    EXPECT_EQ(work.rows, 2 * 300 + 512 + 300 + 1'000);
    EXPECT_EQ(work.baseline_passes, 0);
}

TEST(Score, knows_the_direction_of_each_metric) {
    const std::array scores{Score{"MAE", 3.4}, Score{"R2", 12.0}};
    EXPECT_TRUE(meets(scores, std::array{PerformanceRequirement{"delay_ms", "MAE", 3.6}}));
    EXPECT_FALSE(meets(scores, std::array{PerformanceRequirement{"delay_ms", "MAE", 3.0}}));
    EXPECT_TRUE(meets(scores, std::array{PerformanceRequirement{"delay_ms", "r2", 10.0}}));
    EXPECT_FALSE(meets(scores, std::array{PerformanceRequirement{"delay_ms", "RMSE", 100.0}}));
    EXPECT_EQ(metric_of("MEA").error().nearest, "MAE");
}

TEST(Preprocessing, counts_encoded_columns_and_outputs) {
    Preprocessing encoding{.inputs = {{.name = "speed", .missing_flag = true},
                                      {.name = "cell", .kind = ColumnKind::category, .categories = {"a", "b", "c"}}},
                           .target = {.name = "y"}};
    EXPECT_EQ(encoding.encoded_columns(), 5);
    EXPECT_EQ(encoding.outputs(), 1);
    encoding.target = {.name = "y", .kind = ColumnKind::category, .categories = {"a", "b", "c"}};
    EXPECT_EQ(encoding.outputs(), 3);
}

TEST(Recipe, refuses_values_that_do_not_fit_together) {
    Recipe recipe{.name = "r", .data = {.source = "s", .target = "y"}, .metrics = {"MAE"}};
    EXPECT_TRUE(check(recipe).ok());
    recipe.loss = Loss::cross_entropy;
    EXPECT_EQ(check(recipe).error().where, "/metrics");
    recipe = {.name = "r", .data = {.source = "s", .target = "y", .exclude = {"y"}}};
    EXPECT_EQ(check(recipe).error().where, "/data/exclude");
    recipe = {.name = "r", .data = {.source = "s", .target = "y"}, .model = {.family = "mlq"}};
    EXPECT_EQ(check(recipe).error().nearest, "mlp");
}

} // namespace
} // namespace muster
