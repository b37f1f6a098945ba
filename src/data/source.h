/// A source of rows, CSV or gzipped CSV, read block by block in constant memory. With bytes.h the only user of Arrow.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "model/recipe.h"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

/// The cells of one column in one block, unquoted and without spaces around what was not quoted; numbers have a decimal
/// point. Valid during the call that passes them.
using TextColumn = std::vector<std::string_view>;

/// Some consecutive rows of the columns that were asked for, in that order.
struct TextBlock {
    std::int64_t first_row{}; ///< number of its first row; the first row below the header is row 2, as in a spreadsheet
    std::int64_t rows{};
    std::vector<TextColumn> columns;
    std::deque<std::string> rewritten{}; ///< what some of the cells point to
};

/// Returns the names of a source's columns: unique, not empty. A byte order mark, CR LF and quotes are understood; what
/// `csv` does not say of the dialect is guessed from the first block. Without a header they are column_1, column_2,
/// ...; when the header has one cell less than the rows, the first column has their names and is called row_name.
/// Errors: not_found (no such file), invalid_argument (not a table: empty, another encoding, broken gzip, doubled
/// names, a header that looks like data).
[[nodiscard]] Result<std::vector<std::string>>
read_header(const std::filesystem::path& path, const RecipeCsv& csv, const Settings& settings);

/// Reads all rows of the named columns, which the header must have, and passes them to `take` block by block until it
/// refuses. Errors: those of read_header; invalid_argument with the row's number for a row with too few or too many
/// cells; resource_exhausted over settings.source_bytes_max or rows_max; what `take` returned.
[[nodiscard]] Result<void> read_rows(const std::filesystem::path& path,
                                     const RecipeCsv& csv,
                                     const std::vector<std::string>& columns,
                                     const Settings& settings,
                                     const std::function<Result<void>(const TextBlock&)>& take);

} // namespace muster::data
