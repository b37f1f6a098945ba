#include "model/score.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace muster {
namespace {

constexpr Metric classification(std::string_view name) {
    return {.name = name,
            .higher_is_better = true,
            .percent = true,
            .for_regression = false,
            .for_classification = true,
            .for_language = name == "accuracy"};
}

constexpr Metric regression(std::string_view name) {
    return {.name = name,
            .higher_is_better = false,
            .percent = false,
            .for_regression = true,
            .for_classification = false,
            .for_language = false};
}

constexpr Metric log_loss{.name = "log_loss",
                          .higher_is_better = false,
                          .percent = false,
                          .for_regression = false,
                          .for_classification = true,
                          .for_language = true};

constexpr Metric r2{.name = "R2",
                    .higher_is_better = true,
                    .percent = true,
                    .for_regression = true,
                    .for_classification = false,
                    .for_language = false};

constexpr std::array<Metric, 12> table{{
    classification("accuracy"),
    classification("balanced_accuracy"),
    classification("precision"),
    classification("recall"),
    classification("F1"),
    classification("AUC"),
    log_loss,
    r2,
    regression("MAE"),
    regression("MSE"),
    regression("RMSE"),
    regression("MAPE"), // in percent, but without an upper end
}};

bool same_name(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    });
}

} // namespace

bool Metric::fits(TaskKind task) const {
    switch (task) {
    case TaskKind::regression:
        return for_regression;
    case TaskKind::binary:
    case TaskKind::multiclass:
        return for_classification;
    case TaskKind::language:
        return for_language;
    }
    return false;
}

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
