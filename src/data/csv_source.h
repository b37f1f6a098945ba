/// One file of CSV or gzipped CSV, read block by block in constant memory.
#pragma once

#include "base/csv_dialect.h"
#include "base/result.h"
#include "data/settings.h"
#include "data/text_block.h"
#include "model/recipe.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::data {

/// Returns the names in the header as they stand there. A byte order mark, CR LF and quotes are understood; what `csv`
/// does not say of the dialect is guessed from the first block. Without a header they are column_1, column_2, ...;
/// when the header has one cell less than the rows, the first column has their names and is called row_name.
/// Errors: not_found; invalid_argument (not a table: empty, broken gzip, a header that looks like data).
[[nodiscard]] Result<std::vector<std::string>>
csv_header(const std::filesystem::path& file, const RecipeCsv& csv, const Settings& settings);

/// Returns the dialect that a file is read in: what `csv` says, and what is guessed. Errors: those of csv_header.
[[nodiscard]] Result<CsvDialect>
csv_dialect(const std::filesystem::path& file, const RecipeCsv& csv, const Settings& settings);

/// Reads all rows of the named columns, which the header must have. Errors: those of csv_header; invalid_argument with
/// the row's number for a row with too few or too many cells, or that does not end within a block, and with the column
/// for text that is no UTF-8; resource_exhausted over settings.source_bytes_max; what `take` returned.
[[nodiscard]] Result<void> read_csv_rows(const std::filesystem::path& file,
                                         const RecipeCsv& csv,
                                         const std::vector<std::string>& columns,
                                         const Settings& settings,
                                         const TakeBlock& take);

} // namespace muster::data
