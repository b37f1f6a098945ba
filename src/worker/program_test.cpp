#include "worker/exported_model.h"
#include "worker/optimizer.h"
#include "worker/program.h"
#include "worker/testing_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

namespace muster::worker {
namespace {

/// What muster-data does with one raw row.
std::vector<float> encode(const Preprocessing& preprocessing,
                          const std::vector<double>& numbers,
                          const std::vector<std::string>& categories) {
    std::vector<float> row;
    std::size_t number = 0;
    std::size_t category = 0;
    for (const InputColumn& input : preprocessing.inputs) {
        bool missing = false;
        if (input.kind == ColumnKind::number) {
            const double raw = numbers[number++];
            missing = std::isnan(raw);
            row.push_back(static_cast<float>(((missing ? input.fill : raw) - input.mean) / input.scale));
        } else {
            const std::string& raw = categories[category++];
            missing = raw.empty();
            for (const std::string& known : input.categories) {
                row.push_back(raw == known ? 1.0F : 0.0F);
            }
            if (input.bucket) {
                row.push_back(!missing && std::ranges::find(input.categories, raw) == input.categories.end() ? 1.0F
                                                                                                             : 0.0F);
            }
        }
        if (input.missing_flag) {
            row.push_back(missing ? 1.0F : 0.0F);
        }
    }
    return row;
}

Preprocessing mixed_inputs() {
    return {.inputs = {{.name = "speed", .fill = 3.5, .mean = 3.0, .scale = 2.0, .missing_flag = true},
                       {.name = "cell", .kind = ColumnKind::category, .categories = {"a", "b", "c"}},
                       {.name = "load", .mean = -10.0, .scale = 0.25},
                       {.name = "band",
                        .kind = ColumnKind::category,
                        .categories = {"n78"},
                        .bucket = true,
                        .missing_flag = true}},
            .target = {.name = "delay", .mean = 40.0, .scale = 8.0}};
}

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
const RawRows raw_rows{.rows = 5,
                       .numbers = {1.0, -10.5, missing, -9.0, 7.25, missing, 0.0, 0.0, missing, missing},
                       .categories = {{"a", "n78"}, {"c", ""}, {"never seen", "n41"}, {"", "n78"}, {"b", ""}}};

at::Tensor encode_all(const Preprocessing& preprocessing, at::ScalarType type) {
    at::Tensor rows = at::empty({raw_rows.rows, preprocessing.encoded_columns()});
    for (std::int64_t i = 0; i < raw_rows.rows; ++i) {
        const std::vector<double> numbers{raw_rows.numbers[static_cast<std::size_t>(2 * i)],
                                          raw_rows.numbers[static_cast<std::size_t>(2 * i + 1)]};
        const auto row = encode(preprocessing, numbers, raw_rows.categories[static_cast<std::size_t>(i)]);
        rows[i].copy_(at::tensor(row));
    }
    return rows.to(type);
}

/// Leaves an archive with its inputs and outputs where exported_model_test.py looks for them.
void leave_for_python(const ModelProgram& program, const ExportedModel& exported, const at::Tensor& outputs) {
    const char* folder = std::getenv("MUSTER_EXPORT_FOLDER"); // NOLINT(concurrency-mt-unsafe): one thread
    if (folder == nullptr) {
        return;
    }
    nlohmann::json expected{{"number_names", exported.number_names()},
                            {"category_names", exported.category_names()},
                            {"target_name", exported.target_name()},
                            {"target_categories", exported.target_categories()},
                            {"categories", raw_rows.categories}};
    for (std::size_t i = 0; i < static_cast<std::size_t>(raw_rows.rows); ++i) {
        expected["numbers"].push_back({raw_rows.numbers[2 * i], raw_rows.numbers[2 * i + 1]}); // NaN becomes null
        const at::Tensor row = outputs[static_cast<std::int64_t>(i)].contiguous();
        expected["outputs"].push_back(
            std::vector<double>(row.const_data_ptr<double>(), row.const_data_ptr<double>() + row.numel()));
    }
    const auto number = std::distance(std::filesystem::directory_iterator{folder}, {});
    const auto name = std::filesystem::path{folder} / std::to_string(number);
    program.export_archive(name.string() + ".pt");
    std::ofstream{name.string() + ".json"} << expected;
}

class Exported : public testing::TestWithParam<std::tuple<Loss, NumberType>> {};

TEST_P(Exported, predicts_raw_rows_exactly_as_the_training_model_does) {
    prepare_thread(1);
    const auto [loss, type] = GetParam();
    Preprocessing preprocessing = mixed_inputs();
    if (loss == Loss::cross_entropy || loss == Loss::binary_cross_entropy) {
        preprocessing.target = {.name = "label", .kind = ColumnKind::category, .categories = {"no", "yes"}};
    }
    if (loss == Loss::cross_entropy) {
        preprocessing.target.categories.push_back("maybe");
    }
    const Recipe recipe{.name = "r", .model = {.hidden = {7}}, .loss = loss, .seed = 5, .number_type = type};
    auto program = ModelProgram::build(recipe, preprocessing);
    ASSERT_TRUE(program.ok()) << program.error().text();
    const TestingFolder folder;
    program->export_archive(folder.path() / "model.pt");
    const auto exported = ExportedModel::load(folder.path() / "model.pt");
    ASSERT_TRUE(exported.ok()) << exported.error().text();
    EXPECT_EQ(exported->number_names(), (std::vector<std::string>{"speed", "load"}));
    EXPECT_EQ(exported->category_names(), (std::vector<std::string>{"cell", "band"}));
    EXPECT_EQ(exported->target_name(), preprocessing.target.name);
    EXPECT_EQ(exported->target_categories(), preprocessing.target.categories);

    const auto scalar = type == NumberType::fp64 ? at::kDouble : at::kFloat;
    const at::NoGradGuard no_grad;
    const at::Tensor expected = program->finish(program->forward(encode_all(preprocessing, scalar))).contiguous();
    leave_for_python(*program, *exported, expected);
    const auto predicted = exported->predict(raw_rows);
    ASSERT_TRUE(predicted.ok()) << predicted.error().text();
    ASSERT_EQ(std::ssize(*predicted), expected.numel());
    for (std::int64_t i = 0; i < expected.numel(); ++i) {
        EXPECT_EQ((*predicted)[static_cast<std::size_t>(i)], expected.const_data_ptr<double>()[i]);
    }
    EXPECT_FALSE(exported->predict({.rows = 1, .numbers = {1.0}, .categories = {{"a", "b"}}}).ok());
    EXPECT_FALSE(exported->predict({.rows = 1, .numbers = {1.0, 2.0}, .categories = {{"a"}}}).ok());
}

INSTANTIATE_TEST_SUITE_P(EachTask,
                         Exported,
                         testing::Combine(testing::Values(Loss::l1, Loss::binary_cross_entropy, Loss::cross_entropy),
                                          testing::Values(NumberType::fp32, NumberType::fp64)));

TEST(ExportedModel, refuses_a_file_that_is_no_archive) {
    const TestingFolder folder;
    static_cast<void>(folder.write({{1, 2}}, {1}));
    EXPECT_EQ(ExportedModel::load(folder.path() / "train.target").error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(ExportedModel::load(folder.path() / "nothing").error().code, ErrorCode::not_found);
}

TEST(ModelProgram, has_the_same_weights_for_the_same_seed_in_both_number_types) {
    const Preprocessing preprocessing = mixed_inputs();
    Recipe recipe{.name = "r", .model = {.hidden = {7, 3}}, .seed = 5};
    auto first = ModelProgram::build(recipe, preprocessing);
    auto second = ModelProgram::build(recipe, preprocessing);
    EXPECT_EQ(first->parameters_digest(), second->parameters_digest());
    EXPECT_EQ(first->parameter_count(), 9 * 7 + 7 + 7 * 3 + 3 + 3 + 1);
    recipe.number_type = NumberType::fp64;
    auto wide = ModelProgram::build(recipe, preprocessing);
    for (std::size_t i = 0; i < wide->parameters().size(); ++i) {
        EXPECT_TRUE(wide->parameters()[i].to(at::kFloat).equal(first->parameters()[i]));
    }
    recipe.seed = 6;
    EXPECT_NE(wide->parameters_digest(), ModelProgram::build(recipe, preprocessing)->parameters_digest());
}

TEST(ModelProgram, refuses_a_loss_that_does_not_fit_the_target) {
    Preprocessing preprocessing = mixed_inputs();
    EXPECT_EQ(ModelProgram::build({.loss = Loss::cross_entropy}, preprocessing).error().where, "/loss");
    preprocessing.target = {.name = "label", .kind = ColumnKind::category, .categories = {"a", "b", "c"}};
    EXPECT_EQ(ModelProgram::build({.loss = Loss::l1}, preprocessing).error().where, "/loss");
    EXPECT_EQ(ModelProgram::build({.loss = Loss::binary_cross_entropy}, preprocessing).error().where, "/loss");
    preprocessing.target.categories.resize(1);
    EXPECT_EQ(ModelProgram::build({.loss = Loss::cross_entropy}, preprocessing).error().where, "/data/target");
    EXPECT_EQ(ModelProgram::build({.model = {.hidden = {0}}}, mixed_inputs()).error().where, "/model/hidden");
}

class OptimizerAgainstTorch : public testing::TestWithParam<RecipeOptimizer> {};

TEST_P(OptimizerAgainstTorch, makes_the_same_steps) {
    const RecipeOptimizer settings = GetParam();
    at::Tensor own = at::arange(30, at::kDouble).reshape({5, 6}).sin().set_requires_grad(true);
    at::Tensor reference = own.detach().clone().set_requires_grad(true);
    constexpr std::int64_t steps = 20;
    Optimizer optimizer{settings, {own}, steps};
    std::unique_ptr<torch::optim::Optimizer> torch_optimizer;
    if (settings.kind == OptimizerKind::adamw) {
        torch_optimizer = std::make_unique<torch::optim::AdamW>(
            std::vector<at::Tensor>{reference},
            torch::optim::AdamWOptions(settings.learning_rate).weight_decay(settings.weight_decay));
    } else {
        torch_optimizer = std::make_unique<torch::optim::SGD>(std::vector<at::Tensor>{reference},
                                                              torch::optim::SGDOptions(settings.learning_rate)
                                                                  .weight_decay(settings.weight_decay)
                                                                  .momentum(settings.momentum));
    }
    for (std::int64_t i = 0; i < steps; ++i) {
        const double decay =
            settings.decay_learning_rate ? 0.5 * (1 + std::cos(M_PI * static_cast<double>(i) / steps)) : 1.0;
        double rate = settings.learning_rate * decay;
        if (settings.warm_up > 0) { // LinearLR from 1 / warm_up, then CosineAnnealingLR over the rest
            const auto warm_up = static_cast<double>(settings.warm_up);
            const double progress = (static_cast<double>(i) - warm_up) / (steps - warm_up);
            rate = settings.learning_rate * (i < settings.warm_up
                                                 ? 1 / warm_up + (1 - 1 / warm_up) * static_cast<double>(i) / warm_up
                                                 : 0.5 * (1 + std::cos(M_PI * progress)));
        }
        torch_optimizer->param_groups()[0].options().set_lr(rate);
        own.mutable_grad().reset();
        reference.mutable_grad().reset();
        (own - 1.0).pow(4).sum().backward();
        (reference - 1.0).pow(4).sum().backward();
        if (settings.clip_norm > 0.0) {
            torch::nn::utils::clip_grad_norm_(reference, settings.clip_norm);
        }
        optimizer.step();
        torch_optimizer->step();
    }
    EXPECT_LT(((own - reference).abs().max() / reference.abs().max()).item<double>(), 1e-13);
    EXPECT_GT((own - at::arange(30, at::kDouble).reshape({5, 6}).sin()).abs().max().item<double>(), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(
    EachKind,
    OptimizerAgainstTorch,
    testing::Values(RecipeOptimizer{},
                    RecipeOptimizer{.learning_rate = 0.01, .weight_decay = 0.1},
                    RecipeOptimizer{.learning_rate = 0.01, .weight_decay = 0.1, .decay_learning_rate = true},
                    RecipeOptimizer{.learning_rate = 0.01, .decay_learning_rate = true, .warm_up = 5, .clip_norm = 1.0},
                    RecipeOptimizer{.kind = OptimizerKind::sgd, .learning_rate = 0.01},
                    RecipeOptimizer{.kind = OptimizerKind::sgd, .learning_rate = 0.1, .clip_norm = 0.5},
                    RecipeOptimizer{.kind = OptimizerKind::sgd,
                                    .learning_rate = 0.01,
                                    .weight_decay = 0.1,
                                    .momentum = 0.9,
                                    .decay_learning_rate = true}));

} // namespace
} // namespace muster::worker
