/// A source of rows: a file, or a folder of files with the same columns; CSV, gzipped CSV, Parquet or Arrow IPC, told
/// by their first bytes.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "data/text_block.h"
#include "model/recipe.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::data {

/// Returns the names of a source's columns: unique, not empty, UTF-8; of a folder in the order of its first file.
/// Errors: those of source_files, csv_header and columnar_header; invalid_argument with the place: names that are
/// doubled or missing, a file of a folder with other columns than the first; resource_exhausted over
/// settings.columns_max.
[[nodiscard]] Result<std::vector<std::string>>
read_header(const std::filesystem::path& source, const RecipeCsv& csv, const Settings& settings);

/// Reads all rows of the named columns, which the header must have, file by file, and passes them to `take` block by
/// block until it refuses. Errors: those of read_header, read_csv_rows and read_columnar_rows; resource_exhausted over
/// settings.rows_max; what `take` returned.
[[nodiscard]] Result<void> read_rows(const std::filesystem::path& source,
                                     const RecipeCsv& csv,
                                     const std::vector<std::string>& columns,
                                     const Settings& settings,
                                     const TakeBlock& take);

} // namespace muster::data
