#include "model/recipe.h"

#include <algorithm>
#include <string_view>

namespace muster {
namespace {

Error wrong(const char* where, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), where};
}

} // namespace

TaskKind task_of(const Recipe& recipe) {
    switch (recipe.loss) {
    case Loss::cross_entropy:
        return TaskKind::multiclass;
    case Loss::binary_cross_entropy:
        return TaskKind::binary;
    case Loss::l1:
    case Loss::mse:
        return TaskKind::regression;
    }
    return TaskKind::regression;
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
    if (recipe.model.family != "mlp") {
        return not_allowed("/model/family", recipe.model.family, {"mlp"});
    }
    const bool regression = task_of(recipe) == TaskKind::regression;
    for (const std::string& name : recipe.metrics) {
        auto metric = metric_of(name);
        if (!metric) {
            return std::move(metric).error();
        }
        if (regression ? !metric->for_regression : !metric->for_classification) {
            return wrong("/metrics", "\"" + name + "\" does not fit the loss of this recipe");
        }
    }
    if (recipe.optimizer.kind == OptimizerKind::adamw && recipe.optimizer.momentum != 0.0) {
        return wrong("/optimizer/momentum", "only sgd has a momentum");
    }
    return {};
}

} // namespace muster
