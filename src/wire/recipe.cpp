#include "wire/recipe.h"

#include "base/digest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace muster::wire {
namespace {

template <typename T>
using Names = std::vector<std::pair<std::string, T>>;

const Names<Loss>& loss_names() {
    static const Names<Loss> names{{"l1", Loss::l1},
                                   {"mse", Loss::mse},
                                   {"cross_entropy", Loss::cross_entropy},
                                   {"binary_cross_entropy", Loss::binary_cross_entropy}};
    return names;
}

const Names<OptimizerKind>& optimizer_names() {
    static const Names<OptimizerKind> names{{"adamw", OptimizerKind::adamw}, {"sgd", OptimizerKind::sgd}};
    return names;
}

const Names<TextUnit>& unit_names() {
    static const Names<TextUnit> names{{"byte", TextUnit::byte}, {"character", TextUnit::character}};
    return names;
}

const Names<char>& delimiter_names() {
    static const Names<char> names{{",", ','}, {";", ';'}, {"tab", '\t'}, {"|", '|'}};
    return names;
}

const Names<char>& decimal_names() {
    static const Names<char> names{{".", '.'}, {",", ','}};
    return names;
}

const Names<CsvEncoding>& encoding_names() {
    static const Names<CsvEncoding> names{{"utf-8", CsvEncoding::utf8}, {"latin-1", CsvEncoding::latin1}};
    return names;
}

const Names<ValidationKind>& validation_names() {
    static const Names<ValidationKind> names{{"random", ValidationKind::random}, {"end", ValidationKind::end}};
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

template <typename T>
std::string name_in(const Names<T>& names, T value) {
    for (const auto& [name, candidate] : names) {
        if (candidate == value) {
            return name;
        }
    }
    return {};
}

RecipeText text_of(Fields fields, Fields& parent) {
    RecipeText text;
    text.unit = fields.choice<TextUnit>("unit", unit_names(), text.unit);
    text.sequence = fields.integer("sequence", 2, 65'536, text.sequence);
    parent.absorb(std::move(fields));
    return text;
}

RecipeWindows windows_of(Fields fields, Fields& parent) {
    RecipeWindows windows;
    windows.length = fields.integer("length", 2, 65'536, windows.length);
    windows.horizon = fields.integer("horizon", 1, 1'000'000, windows.horizon);
    windows.time = fields.text("time", "");
    windows.series = fields.text("series", "");
    parent.absorb(std::move(fields));
    return windows;
}

RecipeCsv csv_of(Fields fields, Fields& parent) {
    RecipeCsv csv;
    if (fields.has("delimiter")) {
        csv.delimiter = fields.choice<char>("delimiter", delimiter_names());
    }
    if (fields.has("decimal")) {
        csv.decimal = fields.choice<char>("decimal", decimal_names());
    }
    csv.encoding = fields.choice<CsvEncoding>("encoding", encoding_names(), csv.encoding);
    if (fields.has("header")) {
        csv.header = fields.boolean("header", true);
    }
    parent.absorb(std::move(fields));
    return csv;
}

const Names<HistoryStatistic>& statistic_names() {
    static const Names<HistoryStatistic> names = [] {
        Names<HistoryStatistic> all;
        for (const auto statistic : {HistoryStatistic::mean,
                                     HistoryStatistic::median,
                                     HistoryStatistic::minimum,
                                     HistoryStatistic::maximum,
                                     HistoryStatistic::deviation}) {
            all.emplace_back(name_of(statistic), statistic);
        }
        return all;
    }();
    return names;
}

RecipeHistory history_of(Fields fields, Fields& parent) {
    RecipeHistory history;
    history.group = fields.text("group", "");
    history.value = fields.text("value");
    history.now = fields.text("now");
    history.known_at = fields.text("known_at", "");
    history.last = fields.integer("last", 0, 1'000, history.last);
    history.window = fields.integer("window", 0, 10'000, history.window);
    for (const std::string& name : fields.texts("statistics")) {
        const auto found = std::ranges::find(statistic_names(), name, &std::pair<std::string, HistoryStatistic>::first);
        if (found == statistic_names().end()) {
            fields.fail("statistics", fmt::format("\"{}\" is none of mean, median, min, max, std", name));
            break;
        }
        history.statistics.push_back(found->second);
    }
    history.outstanding = fields.boolean("outstanding", false);
    history.since_last = fields.boolean("since_last", false);
    parent.absorb(std::move(fields));
    return history;
}

Json to_json(const RecipeHistory& history) {
    Json statistics = Json::array();
    for (const HistoryStatistic statistic : history.statistics) {
        statistics.push_back(name_of(statistic));
    }
    return {{"group", history.group},
            {"value", history.value},
            {"now", history.now},
            {"known_at", history.known_at},
            {"last", history.last},
            {"window", history.window},
            {"statistics", statistics},
            {"outstanding", history.outstanding},
            {"since_last", history.since_last}};
}

std::vector<RecipeClip> clip_of(Fields fields, Fields& parent) {
    std::vector<RecipeClip> clips;
    for (const auto& [column, none] : fields.json().items()) {
        const Json* limits = fields.raw(column);
        if (!limits->is_array() || limits->size() != 2 || !limits->at(0).is_number() || !limits->at(1).is_number() ||
            limits->at(0).get<double>() >= limits->at(1).get<double>()) {
            fields.fail(column, "[low, high] is expected, two numbers, the smaller one first");
            break;
        }
        clips.push_back({column, limits->at(0).get<double>(), limits->at(1).get<double>()});
    }
    parent.absorb(std::move(fields));
    return clips;
}

RecipeData data_of(Fields fields, Fields& parent) {
    RecipeData data;
    data.source = fields.text("source");
    data.test = fields.text("test", "");
    if (fields.has("text")) {
        data.text = text_of(fields.child("text"), fields);
        data.target = text_target(data.text->unit);
    } else {
        data.target = fields.text("target");
    }
    if (fields.has("windows")) {
        data.windows = windows_of(fields.child("windows"), fields);
    }
    if (fields.has("history")) {
        data.history = history_of(fields.child("history"), fields);
    }
    if (fields.has("csv") && !data.text) {
        data.csv = csv_of(fields.child("csv"), fields);
    }
    data.exclude = fields.texts("exclude");
    data.categorical = fields.texts("categorical");
    data.log = fields.texts("log");
    data.clip = clip_of(fields.child("clip"), fields);
    data.validation = fields.real("validation", 0.0, 0.9, data.validation);
    data.validation_rows = fields.choice<ValidationKind>("validation_rows", validation_names(), data.validation_rows);
    parent.absorb(std::move(fields));
    return data;
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

RecipeModel model_of(Fields fields, Fields& parent) {
    RecipeModel model;
    model.family = fields.text("family", fields.has("archive") ? "torchscript" : model.family);
    if (model.family == "torchscript") {
        model.archive = archive_of(fields.child("archive"), fields);
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

RecipeEarlyStopping early_stopping_of(Fields fields, Fields& parent) {
    RecipeEarlyStopping stopping;
    stopping.patience = fields.integer("patience", 1, 1'000'000, stopping.patience);
    stopping.metric = fields.text("metric", "");
    parent.absorb(std::move(fields));
    return stopping;
}

Json to_json(const RecipeData& data) {
    if (data.text) {
        return {{"source", data.source},
                {"test", data.test},
                {"text", {{"unit", name_in(unit_names(), data.text->unit)}, {"sequence", data.text->sequence}}},
                {"validation", data.validation}};
    }
    Json json{{"source", data.source},
              {"test", data.test},
              {"target", data.target},
              {"exclude", data.exclude},
              {"categorical", data.categorical},
              {"validation", data.validation}};
    if (data.csv != RecipeCsv{}) { // else recipes from before it keep their digests
        json["csv"] = wire::to_json(data.csv);
    }
    if (!data.log.empty()) {
        json["log"] = data.log;
    }
    for (const RecipeClip& clip : data.clip) {
        json["clip"][clip.column] = {clip.low, clip.high};
    }
    if (data.history) {
        json["history"] = to_json(*data.history);
    }
    if (data.validation_rows != ValidationKind::random) {
        json["validation_rows"] = name_in(validation_names(), data.validation_rows);
    }
    if (data.windows) {
        json["windows"] = {{"length", data.windows->length},
                           {"horizon", data.windows->horizon},
                           {"time", data.windows->time},
                           {"series", data.windows->series}};
    }
    return json;
}

Json shape_of(const RecipeModel& model) {
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

Json to_json(const RecipeCsv& csv) {
    Json json{{"encoding", name_in(encoding_names(), csv.encoding)}};
    if (csv.delimiter) {
        json["delimiter"] = name_in(delimiter_names(), *csv.delimiter);
    }
    if (csv.decimal) {
        json["decimal"] = name_in(decimal_names(), *csv.decimal);
    }
    if (csv.header) {
        json["header"] = *csv.header;
    }
    return json;
}

Result<RecipeCsv> csv_from_json(const Json& json) {
    static const Json nothing = Json::object();
    Fields outer{nothing, ""};
    RecipeCsv csv = csv_of(Fields{json, ""}, outer);
    auto done = outer.finish();
    return done ? Result<RecipeCsv>{csv} : std::move(done).error();
}

Result<Recipe> recipe_from_json(const Json& json, const Places* places) {
    Fields fields{json, "", places};
    Recipe recipe;
    recipe.name = fields.text("name");
    recipe.inference = fields.text("inference", "muster:" + recipe.name);
    recipe.data = data_of(fields.child("data"), fields);
    recipe.model = model_of(fields.child("model"), fields);
    recipe.loss = fields.choice<Loss>("loss", loss_names());
    recipe.optimizer = optimizer_of(fields.child("optimizer"), fields);
    recipe.batch = fields.integer("batch", 1, 1 << 24, recipe.batch);
    recipe.epochs = fields.integer("epochs", 1, 1'000'000, recipe.epochs);
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
              {"optimizer", to_json(recipe.optimizer)},
              {"batch", recipe.batch},
              {"epochs", recipe.epochs},
              {"metrics", recipe.metrics},
              {"seed", recipe.seed},
              {"number_type", name_in(number_type_names(), recipe.number_type)},
              {"stop_when_met", recipe.stop_when_met}};
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
    if (recipe.model.family == "gru") {
        return fmt::format("gru {}x{}", recipe.model.layers, recipe.model.width);
    }
    return recipe.model.hidden.empty() ? "linear"
                                       : fmt::format("{} {}", recipe.model.family, fmt::join(recipe.model.hidden, "-"));
}

} // namespace muster::wire
