/// What a source looks like, for people who are about to write a recipe for it.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "model/recipe.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace muster::data {

/// Reads a whole source once, in the memory of a block and at most `settings.categories_max` texts of each column, and
/// returns
///   {"files", "kind": "csv" | "parquet" | "arrow", "csv": what a recipe's data.csv would say, of CSV only, with all
///    that was guessed, "rows", "notes": [texts],
///    "columns": [{"name", "kind": "number" | "date" | "text" | "mixed" | "empty", "missing", "categories": how many
///     different values (null: more than the limit), "examples": some of them}, of numbers also "min", "max", "mean",
///     "deviation", "whole", and "correlation" with `target` where both are numbers that vary; of mixed ones
///     "first_text": the place],
///    "first_rows": [[cells]]}
/// Where `csv` leaves the encoding or the header open and UTF-8 or a header do not fit, it tries the other and says so
/// in the notes. `target` may be empty or unknown. Errors: those of read_header and read_rows.
[[nodiscard]] Result<nlohmann::json>
inspect(const std::filesystem::path& source, const RecipeCsv& csv, const std::string& target, const Settings& settings);

} // namespace muster::data
