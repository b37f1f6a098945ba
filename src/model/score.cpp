#include "model/score.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace muster {
namespace {

constexpr std::array<Metric, 9> table{{
    {.name = "accuracy",
     .higher_is_better = true,
     .percent = true,
     .for_regression = false,
     .for_classification = true},
    {.name = "precision",
     .higher_is_better = true,
     .percent = true,
     .for_regression = false,
     .for_classification = true},
    {.name = "recall", .higher_is_better = true, .percent = true, .for_regression = false, .for_classification = true},
    {.name = "F1", .higher_is_better = true, .percent = true, .for_regression = false, .for_classification = true},
    {.name = "AUC", .higher_is_better = true, .percent = true, .for_regression = false, .for_classification = true},
    {.name = "R2", .higher_is_better = true, .percent = true, .for_regression = true, .for_classification = false},
    {.name = "MAE", .higher_is_better = false, .percent = false, .for_regression = true, .for_classification = false},
    {.name = "MSE", .higher_is_better = false, .percent = false, .for_regression = true, .for_classification = false},
    {.name = "RMSE", .higher_is_better = false, .percent = false, .for_regression = true, .for_classification = false},
}};

bool same_name(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    });
}

} // namespace

std::span<const Metric> metrics() {
    return table;
}

Result<Metric> metric_of(std::string_view name) {
    const auto found = std::ranges::find_if(table, [&](const Metric& metric) { return same_name(metric.name, name); });
    if (found != table.end()) {
        return *found;
    }
    std::vector<std::string> allowed;
    std::ranges::transform(
        table, std::back_inserter(allowed), [](const Metric& metric) { return std::string{metric.name}; });
    return not_allowed("performanceMetric", std::string{name}, std::move(allowed));
}

bool meets(std::span<const Score> scores, std::span<const PerformanceRequirement> requirements) {
    return std::ranges::all_of(requirements, [&](const PerformanceRequirement& required) {
        const auto metric = metric_of(required.metric);
        const auto score =
            std::ranges::find_if(scores, [&](const Score& s) { return same_name(s.metric, required.metric); });
        if (!metric || score == scores.end()) {
            return false;
        }
        return metric->higher_is_better ? score->value >= required.score : score->value <= required.score;
    });
}

} // namespace muster
