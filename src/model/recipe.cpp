#include "model/recipe.h"

#include <algorithm>
#include <string_view>

namespace muster {
namespace {

Error wrong(const char* where, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), where};
}

/// Windows and the columns that order them.
Result<void> check_windows(const RecipeData& data) {
    const RecipeWindows& windows = *data.windows;
    if (data.text) {
        return wrong("/data/windows", "windows are of tables; a text has a sequence");
    }
    for (const auto& [column, where] :
         {std::pair{&windows.time, "/data/windows/time"}, std::pair{&windows.series, "/data/windows/series"}}) {
        if (!column->empty() && *column == data.target) {
            return wrong(where, "the target \"" + *column + "\" cannot order the rows");
        }
    }
    if (!windows.time.empty() && windows.time == windows.series) {
        return wrong("/data/windows/series", "the column \"" + windows.time + "\" already orders the rows");
    }
    return {};
}

/// What is derived from earlier rows, and from which columns.
Result<void> check_history(const RecipeData& data) {
    const RecipeHistory& history = *data.history;
    if (data.text || data.windows) {
        return wrong("/data/history",
                     data.text ? "a history is of tables; a text has a sequence"
                               : "windows of rows have their past in them already; use one of the two");
    }
    if (history.value.empty() || history.now.empty()) {
        return wrong("/data/history", "value and now name columns of the table");
    }
    if (history.group == history.value || history.now == history.value || history.known_at == history.value ||
        (!history.group.empty() && (history.group == history.now || history.group == history.known_at))) {
        return wrong("/data/history", "group, value and the times are different columns");
    }
    if (data.target == history.group || data.target == history.now || data.target == history.known_at) {
        return wrong("/data/history", "the target \"" + data.target + "\" is neither group nor time of a row");
    }
    if (history_names(history).empty()) {
        return wrong("/data/history", "nothing is derived: say last, statistics, outstanding or since_last");
    }
    if (!history.statistics.empty() && history.window == 0) {
        return wrong("/data/history/window", "statistics are of that many newest values; say how many");
    }
    for (auto statistic = history.statistics.begin(); statistic != history.statistics.end(); ++statistic) {
        if (std::find(history.statistics.begin(), statistic, *statistic) != statistic) {
            return wrong("/data/history/statistics", std::string{name_of(*statistic)} + " is there twice");
        }
    }
    return {};
}

/// What boosted trees have nothing of.
Result<void> check_trees(const Recipe& recipe) {
    if (!has_trees(recipe)) {
        return recipe.loss == Loss::poisson ? wrong("/loss", "poisson is trained by the family gbdt") : Result<void>{};
    }
    if (recipe.data.text) {
        return wrong("/model/family", "boosted trees read tables; a text needs the family transformer");
    }
    if (recipe.number_type != NumberType::fp32) {
        return wrong("/number_type", "boosted trees have one number type");
    }
    if (recipe.distribution.strategy == DistributionKind::pipeline) {
        return wrong("/distribution/strategy", "boosted trees are no chain of blocks and cannot be cut into stages");
    }
    return {};
}

/// Model, loss and kind of source belong together.
Result<void> check_model(const Recipe& recipe) {
    const std::string& family = recipe.model.family;
    if (family != "mlp" && family != "transformer" && family != "gru" && family != "torchscript" && family != "gbdt") {
        return not_allowed("/model/family", family, {"gbdt", "gru", "mlp", "torchscript", "transformer"});
    }
    if (auto checked = check_trees(recipe); !checked) {
        return checked;
    }
    if (family == "gru" && !recipe.data.windows) {
        return wrong("/model/family", "a gru reads windows of rows; say how in /data/windows");
    }
    if (family != "gru" && family != "gbdt" && recipe.data.windows) {
        return wrong("/data/windows", "windows of rows are read by the families gru and gbdt");
    }
    if (family == "gru" && !recipe.data.windows->lags.empty()) {
        return wrong("/data/windows/lags", "a gru reads all rows of a window; lags are for the family gbdt");
    }
    if (recipe.data.history) {
        if (auto checked = check_history(recipe.data); !checked) {
            return checked;
        }
    }
    if (recipe.data.windows) {
        return check_windows(recipe.data);
    }
    if ((family == "torchscript") != recipe.model.archive.has_value()) {
        return wrong("/model/archive", "a model of family torchscript has an archive, one of another family has none");
    }
    if (family != "torchscript" && (family == "transformer") != recipe.data.text.has_value()) {
        return wrong("/model/family",
                     family == "mlp" ? "an mlp reads tables; a text needs the family transformer"
                                     : "a transformer reads text; say how in /data/text");
    }
    if (!recipe.data.text) {
        return {};
    }
    if (recipe.loss != Loss::cross_entropy) {
        return wrong("/loss", "a language model is trained with cross_entropy");
    }
    if (family == "transformer" && recipe.model.width % (2 * recipe.model.heads) != 0) {
        return wrong("/model/heads", "the width must be a multiple of twice the heads: each reads pairs of numbers");
    }
    if (!recipe.data.exclude.empty() || !recipe.data.categorical.empty() || !recipe.data.log.empty() ||
        !recipe.data.clip.empty()) {
        return wrong("/data", "a text has no columns to exclude, to treat as categories or to transform");
    }
    return {};
}

} // namespace

std::int64_t block_count(const Recipe& recipe) {
    constexpr std::int64_t embedding_and_head = 2;
    if (recipe.model.archive) {
        return recipe.model.archive->blocks;
    }
    return recipe.model.family == "transformer" ? recipe.model.layers + embedding_and_head : 0;
}

std::int64_t window_rows(const Recipe& recipe) {
    return recipe.data.windows ? recipe.data.windows->length : 1;
}

std::int64_t micro_rows_of(const Recipe& recipe) {
    const std::int64_t pieces = std::max<std::int64_t>(1, recipe.distribution.micro_batches);
    return std::max<std::int64_t>(1, (recipe.batch + pieces - 1) / pieces);
}

std::int64_t state_per_parameter(const RecipeOptimizer& optimizer) {
    if (optimizer.kind == OptimizerKind::adamw) {
        return 2;
    }
    return optimizer.momentum != 0.0 ? 1 : 0;
}

std::string block_name(const Recipe& recipe, std::int64_t position) {
    if (recipe.model.archive) {
        return "layer " + std::to_string(position);
    }
    if (position == 0) {
        return "embedding";
    }
    return position + 1 == block_count(recipe) ? "head" : "block " + std::to_string(position);
}

const char* text_target(TextUnit unit) {
    return unit == TextUnit::byte ? "next_byte" : "next_character";
}

TaskKind task_of(const Recipe& recipe) {
    if (recipe.data.text) {
        return TaskKind::language;
    }
    switch (recipe.loss) {
    case Loss::cross_entropy:
        return TaskKind::multiclass;
    case Loss::binary_cross_entropy:
        return TaskKind::binary;
    case Loss::l1:
    case Loss::mse:
    case Loss::quantile:
    case Loss::poisson:
        return TaskKind::regression;
    }
    return TaskKind::regression;
}

bool has_trees(const Recipe& recipe) {
    return recipe.model.family == "gbdt";
}

std::string watched_metric(const Recipe& recipe) {
    if (recipe.early_stopping && !recipe.early_stopping->metric.empty()) {
        return recipe.early_stopping->metric;
    }
    if (!recipe.metrics.empty()) {
        return recipe.metrics.front();
    }
    switch (recipe.loss) {
    case Loss::l1:
    case Loss::quantile:
    case Loss::poisson:
        return "MAE";
    case Loss::mse:
        return "MSE";
    case Loss::cross_entropy:
    case Loss::binary_cross_entropy:
        return "log_loss";
    }
    return "log_loss";
}

namespace {

/// How categories become inputs, and how much classes count.
Result<void> check_rows(const Recipe& recipe) {
    const RecipeData& data = recipe.data;
    if (data.text && (data.categories || recipe.class_weights)) {
        return wrong(data.categories ? "/data/categories" : "/class_weights", "a text has neither columns nor classes");
    }
    if (recipe.class_weights && recipe.model.archive) {
        return wrong("/class_weights", "classes are weighed in models of our families, not in archives of users");
    }
    if (recipe.class_weights && task_of(recipe) == TaskKind::regression) {
        return wrong("/class_weights", "only a loss of classes has class weights");
    }
    return {};
}

Result<void> check_early_stopping(const Recipe& recipe) {
    if (!recipe.early_stopping) {
        return {};
    }
    if (recipe.data.validation <= 0.0) {
        return wrong("/early_stopping", "it watches validation rows, but data.validation keeps none");
    }
    const auto metric = metric_of(watched_metric(recipe));
    if (!metric) {
        Error error = metric.error();
        error.where = "/early_stopping/metric";
        return error;
    }
    if (!metric->fits(task_of(recipe))) {
        return wrong("/early_stopping/metric",
                     "\"" + std::string{metric->name} + "\" does not fit the loss of this recipe");
    }
    return {};
}

} // namespace

Result<void> check_pinned(const Recipe& recipe) {
    const RecipeData& data = recipe.data;
    const auto is_area = [](const std::string& name) {
        const auto metric = metric_of(name);
        return metric && metric->name == "AUC";
    };
    if (data.text || data.windows || recipe.model.family != "mlp") {
        return wrong("/data/layout", "rows that stay at their sites are a table's, and the family mlp trains on them");
    }
    if (recipe.distribution.strategy == DistributionKind::pipeline ||
        recipe.distribution.strategy == DistributionKind::one_function) {
        return wrong("/distribution/strategy", "all sites train on rows that stay at them: auto or data_parallel");
    }
    if (recipe.optimizer.state == StateKind::sharded) {
        return wrong("/optimizer/state", "where rows stay at their sites each has the whole state");
    }
    if (data.categories) {
        return wrong("/data/categories", "where rows stay at their sites, these say which categories are too rare");
    }
    if (recipe.class_weights) {
        return wrong("/class_weights", "where rows stay at their sites each counts the same");
    }
    if (!recipe.report_by.empty()) {
        return wrong("/report_by", "scores by category are of few rows each, which stay at their sites");
    }
    if (std::ranges::any_of(recipe.metrics, is_area)) {
        return wrong("/metrics", "AUC is made from the order of all rows, but these stay at their sites");
    }
    if (recipe.early_stopping && is_area(recipe.early_stopping->metric)) {
        return wrong("/early_stopping/metric", "AUC is made from the order of all rows, but these stay at their sites");
    }
    return {};
}

Result<void> check(const Recipe& recipe) {
    if (recipe.name.empty() || recipe.name.size() > 128) {
        return wrong("/name", "a name of 1 to 128 characters is required");
    }
    if (recipe.data.source.empty() || recipe.data.target.empty()) {
        return wrong("/data", "source and target are required");
    }
    if (std::ranges::find(recipe.data.exclude, recipe.data.target) != recipe.data.exclude.end()) {
        return wrong("/data/exclude", "the target \"" + recipe.data.target + "\" cannot be excluded");
    }
    if (auto fits = check_model(recipe); !fits) {
        return fits;
    }
    if (recipe.distribution.strategy == DistributionKind::pipeline && block_count(recipe) == 0) {
        return wrong("/distribution/strategy",
                     "a model of family \"" + recipe.model.family +
                         "\" is no chain of blocks and cannot be cut into stages; " +
                         (recipe.model.archive ? "forward() of this archive is not just one of its layers after the "
                                                 "other (api/user-models.md)"
                                               : "a transformer can"));
    }
    if (auto fits = check_rows(recipe); !fits) {
        return fits;
    }
    if (recipe.number_type == NumberType::bf16 && recipe.model.family != "mlp" &&
        recipe.model.family != "transformer") {
        return wrong("/number_type",
                     "bf16 is for the linear layers of the families mlp and transformer; a model of family \"" +
                         recipe.model.family + "\" is trained in fp32 or fp64");
    }
    const DistributionKind strategy = recipe.distribution.strategy;
    if (recipe.optimizer.state == StateKind::sharded &&
        (strategy == DistributionKind::one_function || strategy == DistributionKind::pipeline)) {
        return wrong(
            "/optimizer/state",
            strategy == DistributionKind::pipeline
                ? "a split model keeps the optimizer's state where its blocks are; sharded is for data_parallel"
                : "one function keeps all of the optimizer's state; sharded is for data_parallel");
    }
    if (!recipe.report_by.empty() && (recipe.data.text || recipe.data.windows)) {
        return wrong("/report_by", "scores by category are of tables whose rows stand for themselves");
    }
    for (const std::string& name : recipe.metrics) {
        auto metric = metric_of(name);
        if (!metric) {
            return std::move(metric).error();
        }
        if (!metric->fits(task_of(recipe))) {
            return wrong("/metrics", "\"" + name + "\" does not fit the loss of this recipe");
        }
    }
    if (recipe.optimizer.kind == OptimizerKind::adamw && recipe.optimizer.momentum != 0.0) {
        return wrong("/optimizer/momentum", "only sgd has a momentum");
    }
    if (recipe.data.layout == LayoutKind::pinned) {
        if (auto fits = check_pinned(recipe); !fits) {
            return fits;
        }
    }
    return check_early_stopping(recipe);
}

} // namespace muster
