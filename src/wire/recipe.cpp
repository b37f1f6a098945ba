#include "wire/recipe.h"

#include "base/digest.h"
#include "wire/recipe_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace muster::wire {
namespace {

const Names<Loss>& loss_names() {
    static const Names<Loss> names{{"l1", Loss::l1},
                                   {"mse", Loss::mse},
                                   {"cross_entropy", Loss::cross_entropy},
                                   {"binary_cross_entropy", Loss::binary_cross_entropy},
                                   {"quantile", Loss::quantile},
                                   {"poisson", Loss::poisson}};
    return names;
}

const Names<OptimizerKind>& optimizer_names() {
    static const Names<OptimizerKind> names{{"adamw", OptimizerKind::adamw}, {"sgd", OptimizerKind::sgd}};
    return names;
}

const Names<NumberType>& number_type_names() {
    static const Names<NumberType> names{
        {"fp32", NumberType::fp32}, {"fp64", NumberType::fp64}, {"bf16", NumberType::bf16}};
    return names;
}

const Names<StateKind>& state_names() {
    static const Names<StateKind> names{
        {"auto", StateKind::automatic}, {"replicated", StateKind::replicated}, {"sharded", StateKind::sharded}};
    return names;
}

const Names<DistributionKind>& distribution_names() {
    static const Names<DistributionKind> names{{"auto", DistributionKind::automatic},
                                               {"one_function", DistributionKind::one_function},
                                               {"data_parallel", DistributionKind::data_parallel},
                                               {"pipeline", DistributionKind::pipeline}};
    return names;
}

ModelArchive archive_of(Fields fields, Fields& parent) {
    ModelArchive archive;
    archive.sha256 = fields.text("sha256");
    if (archive.sha256.size() != 64 || archive.sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
        fields.fail("sha256", "64 lower-case hexadecimal digits are expected");
    }
    archive.bytes = fields.integer("bytes", 1, std::int64_t{1} << 50U);
    archive.blocks = fields.integer("blocks", 0, 65'536, archive.blocks);
    parent.absorb(std::move(fields));
    return archive;
}

RecipeTrees trees_of(Fields& fields) {
    RecipeTrees trees;
    trees.trees = fields.integer("trees", 1, 100'000, trees.trees);
    trees.leaves = fields.integer("leaves", 2, 131'072, trees.leaves);
    trees.learning_rate = fields.real("learning_rate", 1e-12, 1e3, trees.learning_rate);
    trees.min_rows_in_leaf = fields.integer("min_rows_in_leaf", 1, 1'000'000'000, trees.min_rows_in_leaf);
    trees.bins = fields.integer("bins", 2, 65'535, trees.bins);
    trees.depth = fields.integer("depth", 0, 1'000, trees.depth);
    trees.l2 = fields.real("l2", 0.0, 1e12, trees.l2);
    trees.row_sampling = fields.real("row_sampling", 1e-6, 1.0, trees.row_sampling);
    trees.column_sampling = fields.real("column_sampling", 1e-6, 1.0, trees.column_sampling);
    return trees;
}

RecipeModel model_of(Fields fields, Fields& parent) {
    RecipeModel model;
    model.family = fields.text("family", fields.has("archive") ? "torchscript" : model.family);
    if (model.family == "torchscript") {
        model.archive = archive_of(fields.child("archive"), fields);
        parent.absorb(std::move(fields));
        return model;
    }
    if (model.family == "gbdt") {
        model.trees = trees_of(fields);
        parent.absorb(std::move(fields));
        return model;
    }
    model.dropout = fields.real("dropout", 0.0, 0.9, model.dropout);
    if (model.family == "gru") {
        model.layers = fields.integer("layers", 1, 16, 1);
        model.width = fields.integer("width", 1, 16'384, 64);
        parent.absorb(std::move(fields));
        return model;
    }
    if (model.family == "transformer") {
        model.layers = fields.integer("layers", 1, 512, model.layers);
        model.width = fields.integer("width", 1, 16'384, model.width);
        model.heads = fields.integer("heads", 1, 256, model.heads);
        parent.absorb(std::move(fields));
        return model;
    }
    model.hidden = fields.integers("hidden", 1, 65'536, model.hidden);
    if (model.hidden.size() > 64) {
        fields.fail("hidden", "at most 64 hidden layers are allowed");
    }
    parent.absorb(std::move(fields));
    return model;
}

RecipeOptimizer optimizer_of(Fields fields, Fields& parent) {
    RecipeOptimizer optimizer;
    optimizer.kind = fields.choice<OptimizerKind>("name", optimizer_names(), optimizer.kind);
    optimizer.learning_rate = fields.real("learning_rate", 1e-12, 1e3, optimizer.learning_rate);
    optimizer.weight_decay = fields.real("weight_decay", 0.0, 1e3, optimizer.weight_decay);
    optimizer.momentum = fields.real("momentum", 0.0, 0.9999, optimizer.momentum);
    optimizer.decay_learning_rate = fields.choice<bool>("schedule", {{"constant", false}, {"cosine", true}}, false);
    optimizer.warm_up = fields.integer("warm_up", 0, 1'000'000'000, optimizer.warm_up);
    optimizer.clip_norm = fields.real("clip_norm", 0.0, 1e12, optimizer.clip_norm);
    optimizer.state = fields.choice<StateKind>("state", state_names(), optimizer.state);
    parent.absorb(std::move(fields));
    return optimizer;
}

RecipeDistribution distribution_of(Fields fields, Fields& parent) {
    RecipeDistribution distribution;
    distribution.strategy = fields.choice<DistributionKind>("strategy", distribution_names(), distribution.strategy);
    distribution.micro_batches = fields.integer("micro_batches", 1, 65'536, distribution.micro_batches);
    parent.absorb(std::move(fields));
    return distribution;
}

RecipeClassWeights class_weights_of(const Json& json, Fields& fields) {
    RecipeClassWeights weights;
    if (json == "balanced") {
        weights.balanced = true;
        return weights;
    }
    if (!json.is_object() || json.empty()) {
        fields.fail("class_weights", "\"balanced\" is expected, or a weight for each class");
        return weights;
    }
    for (const auto& [name, weight] : json.items()) {
        if (!weight.is_number() || !(weight.get<double>() > 0.0) || weight.get<double>() > 1e9) {
            fields.fail("class_weights", fmt::format("the weight of \"{}\" is a number above 0, at most 1e9", name));
            break;
        }
        weights.weights.emplace_back(name, weight.get<double>());
    }
    return weights;
}

RecipeEarlyStopping early_stopping_of(Fields fields, Fields& parent) {
    RecipeEarlyStopping stopping;
    stopping.patience = fields.integer("patience", 1, 1'000'000, stopping.patience);
    stopping.metric = fields.text("metric", "");
    parent.absorb(std::move(fields));
    return stopping;
}

Json shape_of(const RecipeModel& model) {
    if (model.trees) {
        const RecipeTrees& trees = *model.trees;
        return {{"family", model.family},
                {"trees", trees.trees},
                {"leaves", trees.leaves},
                {"learning_rate", trees.learning_rate},
                {"min_rows_in_leaf", trees.min_rows_in_leaf},
                {"bins", trees.bins},
                {"depth", trees.depth},
                {"l2", trees.l2},
                {"row_sampling", trees.row_sampling},
                {"column_sampling", trees.column_sampling}};
    }
    if (model.family == "transformer") {
        return {{"family", model.family}, {"layers", model.layers}, {"width", model.width}, {"heads", model.heads}};
    }
    if (model.archive) {
        const ModelArchive& archive = *model.archive;
        return {{"family", model.family},
                {"archive", {{"sha256", archive.sha256}, {"bytes", archive.bytes}, {"blocks", archive.blocks}}}};
    }
    if (model.family == "gru") {
        return {{"family", model.family}, {"layers", model.layers}, {"width", model.width}};
    }
    return {{"family", model.family}, {"hidden", model.hidden}};
}

/// What is off is left out, so that recipes from before it existed keep their digests.
Json to_json(const RecipeModel& model) {
    Json json = shape_of(model);
    if (model.dropout > 0.0) {
        json["dropout"] = model.dropout;
    }
    return json;
}

Json to_json(const RecipeClassWeights& weights) {
    if (weights.balanced) {
        return "balanced";
    }
    Json json = Json::object();
    for (const auto& [name, weight] : weights.weights) {
        json[name] = weight;
    }
    return json;
}

Json to_json(const RecipeOptimizer& optimizer) {
    Json json{{"name", name_in(optimizer_names(), optimizer.kind)},
              {"learning_rate", optimizer.learning_rate},
              {"weight_decay", optimizer.weight_decay},
              {"momentum", optimizer.momentum},
              {"schedule", optimizer.decay_learning_rate ? "cosine" : "constant"}};
    if (optimizer.warm_up > 0) {
        json["warm_up"] = optimizer.warm_up;
    }
    if (optimizer.clip_norm > 0.0) {
        json["clip_norm"] = optimizer.clip_norm;
    }
    if (optimizer.state != StateKind::automatic) {
        json["state"] = name_in(state_names(), optimizer.state);
    }
    return json;
}

} // namespace

Result<Recipe> recipe_from_json(const Json& json, const Places* places) {
    Fields fields{json, "", places};
    Recipe recipe;
    recipe.name = fields.text("name");
    recipe.inference = fields.text("inference", "muster:" + recipe.name);
    recipe.data = data_of(fields.child("data"), fields);
    recipe.model = model_of(fields.child("model"), fields);
    recipe.loss = fields.choice<Loss>("loss", loss_names());
    if (recipe.loss == Loss::quantile) {
        recipe.quantile = fields.real("quantile", 1e-6, 1.0 - 1e-6);
    }
    if (const Json* weights = fields.raw("class_weights"); weights != nullptr) {
        recipe.class_weights = class_weights_of(*weights, fields);
    }
    if (!has_trees(recipe)) { // Else none of it is asked for, and refused.
        recipe.optimizer = optimizer_of(fields.child("optimizer"), fields);
        recipe.batch = fields.integer("batch", 1, 1 << 24, recipe.batch);
        recipe.epochs = fields.integer("epochs", 1, 1'000'000, recipe.epochs);
    }
    recipe.metrics = fields.texts("metrics");
    recipe.report_by = fields.texts("report_by");
    recipe.seed = static_cast<std::uint64_t>(fields.integer("seed", 0, std::numeric_limits<std::int64_t>::max(), 1));
    recipe.number_type = fields.choice<NumberType>("number_type", number_type_names(), NumberType::fp32);
    recipe.distribution = distribution_of(fields.child("distribution"), fields);
    if (fields.has("early_stopping")) {
        recipe.early_stopping = early_stopping_of(fields.child("early_stopping"), fields);
    }
    recipe.stop_when_met = fields.boolean("stop_when_met", false);
    if (auto done = fields.finish(); !done) {
        return std::move(done).error();
    }
    if (auto checked = check(recipe); !checked) {
        Error error = std::move(checked).error();
        if (places != nullptr && places->contains(error.where)) {
            error.where = places->at(error.where) + ": " + error.where;
        }
        return error;
    }
    recipe.digest = digest_of(recipe);
    return recipe;
}

Json to_json(const Recipe& recipe) {
    Json json{{"name", recipe.name},
              {"inference", recipe.inference},
              {"data", to_json(recipe.data)},
              {"model", to_json(recipe.model)},
              {"loss", name_in(loss_names(), recipe.loss)},
              {"metrics", recipe.metrics},
              {"seed", recipe.seed},
              {"number_type", name_in(number_type_names(), recipe.number_type)},
              {"stop_when_met", recipe.stop_when_met}};
    if (!has_trees(recipe)) {
        json["optimizer"] = to_json(recipe.optimizer);
        json["batch"] = recipe.batch;
        json["epochs"] = recipe.epochs;
    }
    if (recipe.loss == Loss::quantile) { // else recipes from before it keep their digests
        json["quantile"] = recipe.quantile;
    }
    if (recipe.class_weights) {
        json["class_weights"] = to_json(*recipe.class_weights);
    }
    if (recipe.distribution != RecipeDistribution{}) { // else recipes from before it keep their digests
        json["distribution"] = {{"strategy", name_in(distribution_names(), recipe.distribution.strategy)},
                                {"micro_batches", recipe.distribution.micro_batches}};
    }
    if (!recipe.report_by.empty()) {
        json["report_by"] = recipe.report_by;
    }
    if (recipe.early_stopping) {
        json["early_stopping"] = {{"patience", recipe.early_stopping->patience},
                                  {"metric", recipe.early_stopping->metric}};
    }
    return json;
}

std::string digest_of(const Recipe& recipe) {
    return sha256_hex(to_json(recipe).dump());
}

std::string model_kind(const Recipe& recipe) {
    if (recipe.model.family == "transformer") {
        return fmt::format("transformer {}x{}", recipe.model.layers, recipe.model.width);
    }
    if (recipe.model.archive) {
        return user_model_kind + recipe.model.archive->sha256.substr(0, 12);
    }
    if (recipe.model.trees) {
        return fmt::format("gbdt {}x{}", recipe.model.trees->trees, recipe.model.trees->leaves);
    }
    if (recipe.model.family == "gru") {
        return fmt::format("gru {}x{}", recipe.model.layers, recipe.model.width);
    }
    return recipe.model.hidden.empty() ? "linear"
                                       : fmt::format("{} {}", recipe.model.family, fmt::join(recipe.model.hidden, "-"));
}

} // namespace muster::wire
