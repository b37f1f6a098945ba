/// A source of rows, CSV or gzipped CSV, or of text; read block by block in constant memory. The only user of Arrow.
#pragma once

#include "base/result.h"
#include "data/settings.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

/// The cells of one column in one block, unquoted. Valid during the call that passes them.
using TextColumn = std::vector<std::string_view>;

/// Some consecutive rows of the columns that were asked for, in that order.
struct TextBlock {
    std::int64_t first_row{}; ///< number of its first row; the first row below the header is row 2, as in a spreadsheet
    std::int64_t rows{};
    std::vector<TextColumn> columns;
};

/// Reads the header of a source: unique, non-empty names in UTF-8. A byte order mark, CR LF and quotes are understood.
/// Errors: not_found (no such file), invalid_argument (not a table: empty, no UTF-8, broken gzip, doubled names).
[[nodiscard]] Result<std::vector<std::string>> read_header(const std::filesystem::path& path, const Settings& settings);

/// Reads all rows of the named columns, which the header must have, and passes them to `take` block by block until it
/// refuses. Errors: those of read_header; invalid_argument with the row's number for a row with too few or too many
/// cells; resource_exhausted over settings.source_bytes_max or rows_max; what `take` returned.
[[nodiscard]] Result<void> read_rows(const std::filesystem::path& path,
                                     const std::vector<std::string>& columns,
                                     const Settings& settings,
                                     const std::function<Result<void>(const TextBlock&)>& take);

/// Reads all bytes of a file, unpacked when it is gzip, and passes them to `take` piece by piece until it refuses.
/// Errors: not_found, invalid_argument (no regular file, broken gzip), unavailable, resource_exhausted over
/// settings.source_bytes_max; what `take` returned.
[[nodiscard]] Result<void> read_bytes(const std::filesystem::path& path,
                                      const Settings& settings,
                                      const std::function<Result<void>(std::string_view)>& take);

} // namespace muster::data
