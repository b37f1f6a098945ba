/// Causal history: inputs derived from what was known, when a row was made, of the earlier rows of its group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

enum class HistoryStatistic { mean, median, minimum, maximum, deviation };

/// Which inputs are derived from earlier values. A value counts at a row when it became known before the row's time: at
/// the same time is too late, so that no row ever sees its own value or one that came with it.
struct RecipeHistory {
    std::string group{};    ///< column that says whose history a row has (a drive, a cell); empty: all rows have one
    std::string value{};    ///< column of numbers that is remembered, usually the target
    std::string now{};      ///< column with the time at which a row was made
    std::string known_at{}; ///< column with the time at which its value became known, not before; empty: it is `now`
    std::int64_t last{};    ///< the newest known values, as many inputs
    std::int64_t window{};  ///< statistics are of that many newest known values, or of all there are
    std::vector<HistoryStatistic> statistics{};
    bool outstanding{}; ///< the number of earlier rows whose value is not known yet
    bool since_last{};  ///< the time since the newest known value became known

    bool operator==(const RecipeHistory&) const = default;
};

/// Returns the names of the derived inputs in their order: delay_ms_last_1 (the newest), ..., delay_ms_mean_20, ...,
/// delay_ms_outstanding, delay_ms_since_last.
[[nodiscard]] std::vector<std::string> history_names(const RecipeHistory& history);
/// Returns what recipes and archives call a statistic: mean, median, min, max, std.
[[nodiscard]] const char* name_of(HistoryStatistic statistic);

} // namespace muster
