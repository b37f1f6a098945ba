/// Statistics of a source for a job in which its rows stay here: what leaves this site instead of them.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "model/recipe.h"
#include "model/statistics.h"

#include <cstdint>
#include <filesystem>

namespace muster::data {

/// Returns what the rows of a training source say about the recipe's columns, without what fewer than `group_rows_min`
/// of them say (model/statistics.h). Errors: those of used_columns, read_table and Learner::statistics;
/// invalid_argument, when the source has fewer rows.
[[nodiscard]] Result<TableStatistics>
gather(const std::filesystem::path& train, const Recipe& recipe, std::int64_t group_rows_min, const Settings& settings);

} // namespace muster::data
