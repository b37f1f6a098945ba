/// The way from a source to a Learner that has seen all of its rows.
#pragma once

#include "base/result.h"
#include "data/learn.h"
#include "data/settings.h"
#include "model/recipe.h"

#include <filesystem>

namespace muster::data {

/// Returns the columns of a source that the recipe uses. Errors: those of read_header and used_columns.
[[nodiscard]] Result<UsedColumns>
columns_of(const std::filesystem::path& source, const Recipe& recipe, const Settings& settings);

/// Returns a Learner that has taken all rows of `train`, history included. Errors: those of read_table.
[[nodiscard]] Result<Learner> learn_rows(const std::filesystem::path& train,
                                         const Recipe& recipe,
                                         const UsedColumns& columns,
                                         const Settings& settings);

} // namespace muster::data
