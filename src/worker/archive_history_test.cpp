#include "base/fd.h"
#include "worker/archive_file.h"
#include "worker/archive_history.h"
#include "worker/exported_model.h"
#include "worker/predict_rows.h"
#include "worker/program.h"
#include "worker/testing_matrix.h"

#include <ATen/Functions.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace muster::worker {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// src/data/history_test.cpp has the same table and the same answers.
RecipeHistory history() {
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

constexpr const char* table = "who,sent,back,y,x\n"
                              "a,0,10,5,1\n"
                              "a,4,6,1,1\n"
                              "a,10,12,3,1\n"
                              "b,11,20,7,1\n"
                              "a,13,,,1\n"
                              "a,20,,,1\n";

/// Inputs x, then those of the history; the linear model's weights are what chance gives.
class ArchiveHistory : public ::testing::Test {
protected:
    void write(const RecipeHistory& history) {
        Preprocessing preprocessing{.inputs = {{.name = "x"}}, .target = {.name = "y"}, .history = history};
        for (const std::string& name : history_names(history)) {
            preprocessing.inputs.push_back({.name = name, .missing_flag = true});
        }
        const Recipe recipe{.name = "r",
                            .data = {.source = "s", .target = "y", .history = history},
                            .model = {.hidden = {}},
                            .loss = Loss::l1,
                            .number_type = NumberType::fp64};
        auto program = ModelProgram::build(recipe, preprocessing);
        ASSERT_TRUE(program.ok()) << program.error().text();
        program->export_archive(path());
    }
    [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "model.pt"; }
    [[nodiscard]] torch::jit::Module load() const {
        const UniqueFd file{::open(path().c_str(), O_RDONLY | O_CLOEXEC)};
        return load_archive(file.get());
    }

    TestingFolder folder_;
};

TEST_F(ArchiveHistory, is_what_training_saw) {
    write(history());
    auto archive = load();
    c10::List<c10::List<std::string>> categories;
    for (const char* who : {"a", "a", "a", "b", "a", "a"}) {
        categories.push_back(c10::List<std::string>({who}));
    }
    // x, y, sent, back: the order of number_names
    const at::Tensor numbers = at::tensor({1., 5., 0.,  10., 1., 1.,   4.,  6.,   1., 3.,   10., 12.,
                                           1., 7., 11., 20., 1., none, 13., none, 1., none, 20., none},
                                          at::kDouble)
                                   .reshape({6, 4});
    const at::Tensor found = archive.get_method("derive")({numbers, categories}).toTensor();
    const at::Tensor expected = at::tensor({1., none, none, none, none, none, none, none, 0., none, //
                                            1., none, none, none, none, none, none, none, 1., none, //
                                            1., 1.,   none, 1.,   1.,   1.,   1.,   0.,   1., 4.,   //
                                            1., none, none, none, none, none, none, none, 0., none, //
                                            1., 3.,   5.,   4.,   4.,   3.,   5.,   1.,   0., 1.,   //
                                            1., 3.,   5.,   4.,   4.,   3.,   5.,   1.,   1., 8.},
                                           at::kDouble)
                                    .reshape({6, 10});
    EXPECT_TRUE(at::allclose(found, expected, 1e-12, 1e-12, true)) << found;
}

TEST_F(ArchiveHistory, is_found_in_the_columns_of_a_table) {
    write(history());
    const auto model = ExportedModel::load(path());
    ASSERT_TRUE(model.ok()) << model.error().text();
    EXPECT_EQ(model->number_names(), (std::vector<std::string>{"x", "y", "sent", "back"}));
    EXPECT_EQ(model->category_names(), (std::vector<std::string>{"who"}));
    EXPECT_EQ(model->time_names(), (std::vector<std::string>{"sent", "back"}));
    const auto together = predict_rows(*model, *parse_csv(table));
    ASSERT_TRUE(together.ok()) << together.error().text();
    // Other rows of other groups do not matter, nor does the order of the rows.
    const auto alone = predict_rows(*model,
                                    *parse_csv("x,y,back,sent,who\n1,,,20,a\n1,3,12,10,a\n1,1,6,4,a\n1,,,13,a\n"
                                               "1,5,10,0,a\n"));
    ASSERT_TRUE(alone.ok()) << alone.error().text();
    EXPECT_NEAR(alone->at(0)[0], together->at(5)[0], 1e-12);
    EXPECT_NEAR(alone->at(1)[0], together->at(2)[0], 1e-12);
    EXPECT_NE(together->at(4), together->at(5));
    // Dates are times as well; only their differences count.
    const auto dates = predict_rows(
        *model,
        *parse_csv("x,y,back,sent,who\n1,1,1970-01-01T00:00:06Z,1970-01-01T00:00:04Z,a\n1,,,1970-01-01T00:00:10Z,a\n"));
    ASSERT_TRUE(dates.ok()) << dates.error().text();
    EXPECT_FALSE(predict_rows(*model, *parse_csv("x,y,back,sent,who\n1,,,soon,a\n")).ok());
    EXPECT_FALSE(predict_rows(*model, *parse_csv("x,y,back,sent,who\n1,,,,a\n")).ok()) << "a row needs a time";
    EXPECT_FALSE(predict_rows(*model, *parse_csv("x,y,back,who\n1,,,a\n")).ok());
}

TEST_F(ArchiveHistory, is_transformed_like_other_numbers) {
    const RecipeHistory last{.value = "y", .now = "t", .last = 1};
    const Preprocessing preprocessing{
        .inputs = {{.name = "x", .transform = {.low = 0.0, .high = 7.0}},
                   {.name = "y_last_1", .transform = {.log = true}, .fill = 5.0, .mean = 1.0, .scale = 2.0}},
        .target = {.name = "y"},
        .history = last};
    const Recipe recipe{.name = "r", .data = {.source = "s", .target = "y"}, .model = {.hidden = {}}};
    const auto program = ModelProgram::build(recipe, preprocessing);
    ASSERT_TRUE(program.ok()) << program.error().text();
    program->export_archive(path());
    auto archive = load();
    const c10::List<c10::List<std::string>> none_at_all;
    const at::Tensor numbers = at::tensor({9., -3., 1., -9., 0., 2.}, at::kDouble).reshape({2, 3}); // x, y, t
    const at::Tensor derived = archive.get_method("derive")({numbers, none_at_all}).toTensor();
    const at::Tensor encoded = archive.get_method("encode")({derived, none_at_all}).toTensor();
    const at::Tensor expected = at::tensor({7., 2., 0., (-std::log(4.0) - 1.0) / 2.0}, at::kFloat).reshape({2, 2});
    EXPECT_TRUE(at::allclose(encoded, expected)) << encoded;
}

TEST_F(ArchiveHistory, may_have_neither_groups_nor_delays) {
    write({.value = "y", .now = "t", .last = 1});
    const auto model = ExportedModel::load(path());
    ASSERT_TRUE(model.ok()) << model.error().text();
    EXPECT_EQ(model->number_names(), (std::vector<std::string>{"x", "y", "t"}));
    EXPECT_TRUE(model->category_names().empty());
    const auto rows = predict_rows(*model, *parse_csv("t,y,x\n1,5,0\n2,,0\n3,7,0\n4,5,0\n"));
    ASSERT_TRUE(rows.ok()) << rows.error().text();
    EXPECT_NEAR(rows->at(1)[0], rows->at(2)[0], 1e-12) << "both know the 5 of the first row";
    EXPECT_NE(rows->at(0), rows->at(1));
    EXPECT_NE(rows->at(3), rows->at(2));
}

} // namespace
} // namespace muster::worker
