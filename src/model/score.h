/// The metrics a request may ask for and a report gives: one table (docs/conformance.md).
#pragma once

#include "base/result.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What the target of a recipe is; language: the next token of a text.
enum class TaskKind { regression, binary, multiclass, language };

/// One row of the table of metrics.
struct Metric {
    std::string_view name; ///< as in performanceMetric, e.g. "MAE"
    bool higher_is_better;
    bool percent; ///< 0..100; otherwise in the unit of the target
    bool for_regression;
    bool for_classification;
    bool for_language;

    /// Says whether models of that kind are scored by it.
    [[nodiscard]] bool fits(TaskKind task) const;
};

/// Returns the whole table.
[[nodiscard]] std::span<const Metric> metrics();
/// Finds a metric by name, ignoring case. Errors: invalid_argument with the allowed names and the nearest.
[[nodiscard]] Result<Metric> metric_of(std::string_view name);

/// A metric with its value, e.g. {"MAE", 3.41}.
struct Score {
    std::string metric;
    double value{};

    bool operator==(const Score&) const = default;
};

/// What a consumer requires of a model's output. Source: TS 28.105 ModelPerformance.
struct PerformanceRequirement {
    std::string output; ///< inferenceOutputName
    std::string metric; ///< performanceMetric
    double score{};     ///< performanceScore
};

/// Says whether `scores` meet every requirement; a requirement whose metric is missing is not met.
[[nodiscard]] bool meets(std::span<const Score> scores, std::span<const PerformanceRequirement> requirements);

} // namespace muster
