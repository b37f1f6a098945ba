#include "worker/exported_model.h"
#include "worker/predict_rows.h"
#include "worker/program.h"
#include "worker/testing_matrix.h"
#include "worker/testing_ranks.h"
#include "worker/trainer.h"
#include "worker/used_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

namespace muster::worker {
namespace {

/// Two waves that a window tells apart, as muster-data leaves them.
struct SeriesProblem {
    static constexpr std::int64_t length = 6;
    Recipe recipe{.name = "forecast",
                  .data = {.source = "s", .target = "y", .windows = RecipeWindows{.length = length}, .validation = 0.2},
                  .model = {.family = "gru", .layers = 2, .width = 12},
                  .loss = Loss::l1,
                  .optimizer = {.learning_rate = 1e-2},
                  .batch = 32,
                  .epochs = 6,
                  .seed = 3};
    Preprocessing preprocessing;
    MatrixSet matrices;

    SeriesProblem() {
        Rows rows;
        std::vector<float> target;
        for (const int period : {7, 11}) {
            for (int i = 0; i < 300; ++i) {
                const auto value = [&](int at) {
                    return static_cast<float>(std::sin(2.0 * M_PI * at / period) + 0.2 * (at % 3));
                };
                rows.push_back({value(i), static_cast<float>(i % 3) - 1.0F});
                const bool ends_one = i + 1 >= length && i < 299;
                target.push_back(i == 0     ? -std::numeric_limits<float>::infinity()
                                 : ends_one ? 10.0F + 5.0F * value(i + 1)
                                            : std::numeric_limits<float>::quiet_NaN());
            }
        }
        const MatrixInfo info = folder_.write(rows, target, rows, target);
        preprocessing.inputs = {{.name = "y", .mean = 10.0, .scale = 5.0}, {.name = "x"}};
        preprocessing.target = {.name = "y", .mean = 10.0, .scale = 5.0, .median = 10.0};
        matrices = open_matrices(folder_.path(), info).value();
    }

private:
    TestingFolder folder_;
};

TEST(Forecast, counts_the_rows_that_end_a_window) {
    const SeriesProblem problem;
    const RowCounts rows = row_counts(problem.recipe, problem.matrices.train);
    EXPECT_EQ(rows.training + rows.validation, 2 * (300 - 6));
    EXPECT_EQ(rows.validation, 2 * 58);
}

TEST(Forecast, beats_persistence_and_is_the_same_for_any_shares) {
    SeriesProblem problem;
    problem.recipe.number_type = NumberType::fp64;
    const auto alone = train_with(problem, {32});
    const Done& done = **alone[0].done;
    for (const char* set : {"validation", "test"}) {
        const double mae = score(done, "trained", set, "MAE");
        EXPECT_LT(mae, 0.5 * score(done, "persistence", set, "MAE")) << set;
        EXPECT_LT(score(done, "linear", set, "MAE"), score(done, "naive", set, "MAE")) << set;
    }
    for (const auto& shares : {std::vector<std::int64_t>{20, 12}, {1, 30, 1}}) {
        for (const Trained& rank : train_with(problem, shares)) {
            ASSERT_TRUE(rank.done->ok()) << rank.done->error().text();
            EXPECT_LT(relative_difference(rank.parameters, alone[0].parameters), 1e-9);
        }
    }
}

TEST(Forecast, is_what_torch_computes_with_the_same_weights) {
    prepare_thread(1);
    const SeriesProblem problem;
    auto program = ModelProgram::build(problem.recipe, problem.preprocessing).value();
    const auto& weights = program.parameters();
    ASSERT_EQ(weights.size(), 2U * 4U + 3U);
    const at::NoGradGuard no_grad;
    const at::Tensor windows = at::sin(at::arange(5 * 6 * 2, at::kFloat)).view({5, 6, 2});
    const auto [states, last] = at::gru(windows,
                                        at::zeros({2, 5, 12}),
                                        std::vector<at::Tensor>{weights.begin(), weights.begin() + 8},
                                        true,
                                        2,
                                        0.0,
                                        false,
                                        false,
                                        true);
    const at::Tensor expected =
        at::linear(last[1], weights[8], weights[10]) + at::linear(windows.select(1, 5), weights[9]);
    EXPECT_TRUE(program.forward(windows).equal(expected));
    EXPECT_EQ(weights[9].abs().max().item<float>(), 0.0F);
    EXPECT_LE(weights[0].abs().max().item<double>(), 1.0 / std::sqrt(12.0));
}

TEST(Forecast, exported_predicts_each_row_that_ends_a_window) {
    prepare_thread(1);
    SeriesProblem problem;
    problem.recipe.data.windows = RecipeWindows{.length = 3, .horizon = 1, .time = "t", .series = "cell"};
    problem.preprocessing.inputs.insert(problem.preprocessing.inputs.begin() + 1,
                                        {.name = "t", .kind = ColumnKind::date, .missing_flag = true});
    auto program = ModelProgram::build(problem.recipe, problem.preprocessing).value();
    const TestingFolder folder;
    program.export_archive(folder.path() / "model.pt");
    if (const char* kept = std::getenv("MUSTER_EXPORT_FOLDER")) { // NOLINT(concurrency-mt-unsafe): one thread
        program.export_archive(std::filesystem::path{kept} / "forecast.pt"); // for tests/system/test_export.py
    }
    const auto exported = ExportedModel::load(folder.path() / "model.pt");
    ASSERT_TRUE(exported.ok()) << exported.error().text();
    EXPECT_EQ(exported->windows().length, 3);

    const CsvRows csv{.header = {"t", "x", "cell", "y"},
                      .rows = {{"1970-01-01T12:00", "1", "a", "13"},
                               {"1970-01-01T00:00", "1", "b", "20"},
                               {"1970-01-01", "1", "a", "11"},
                               {"1970-01-01T18:00Z", "-1", "a", "14"},
                               {"1970-01-01T06:00", "0", "b", "21"},
                               {"1970-01-01 06:00", "0", "a", "12"}}};
    const auto predicted = predict_rows(*exported, csv);
    ASSERT_TRUE(predicted.ok()) << predicted.error().text();
    const at::NoGradGuard no_grad;
    at::Tensor rows = at::empty({4, 7}, at::kDouble); // y, waves of day and week, not missing, x
    const std::vector<double> values{0.2, 0.4, 0.6, 0.8};
    const std::vector<double> others{1.0, 0.0, 1.0, -1.0};
    for (int i = 0; i < 4; ++i) {
        const double day = 2 * M_PI * i / 4;
        const auto at = static_cast<std::size_t>(i);
        rows[i] = at::tensor(
            {values[at], std::sin(day), std::cos(day), std::sin(day / 7), std::cos(day / 7), 0.0, others[at]});
    }
    const at::Tensor windows = rows.to(at::kFloat).unfold(0, 3, 1).transpose(1, 2);
    const at::Tensor expected = program.finish(program.forward(windows));
    EXPECT_NEAR((*predicted)[0].at(0), expected[0][0].item<double>(), 1e-5) << "after 11, 12, 13";
    EXPECT_NEAR((*predicted)[3].at(0), expected[1][0].item<double>(), 1e-5) << "after 12, 13, 14";
    for (const std::size_t row : {1U, 2U, 4U, 5U}) {
        EXPECT_TRUE(std::isnan((*predicted)[row].at(0))) << "row " << row << " has too few before it";
    }

    CsvRows twice = csv;
    twice.rows[5][0] = "1970-01-01T12:00Z";
    EXPECT_EQ(predict_rows(*exported, twice).error().where, "row 7, column t");
    EXPECT_EQ(predict_rows(*exported, {.header = {"x", "y", "cell"}, .rows = {{"1", "2", "a"}}}).error().code,
              ErrorCode::invalid_argument);
}

} // namespace
} // namespace muster::worker
