/// Parquet and Arrow IPC (file and stream): typed columns become cells of text, batch by batch.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "data/text_block.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::data {

enum class FileKind { csv, parquet, arrow_file, arrow_stream };

/// Tells a file by its first bytes; what is nothing else is CSV. Errors: not_found, invalid_argument (no regular file),
/// unavailable.
[[nodiscard]] Result<FileKind> kind_of(const std::filesystem::path& file);

/// Returns the names of the columns as the file's schema has them. Errors: invalid_argument, when the file is damaged
/// or truncated; resource_exhausted.
[[nodiscard]] Result<std::vector<std::string>>
columnar_header(const std::filesystem::path& file, FileKind kind, const Settings& settings);

/// Reads all rows of the named columns, which the schema must have; the first row is row 1. Numbers keep all their
/// digits, times become ISO 8601 (with Z where the type has a zone), truths "true" and "false", null is missing.
/// Errors: those of columnar_header; invalid_argument, naming the column, for nested, binary and other types that are
/// no cells; resource_exhausted, when the file says, or turns out, to be larger than settings.source_bytes_max
/// uncompressed; what `take` returned.
[[nodiscard]] Result<void> read_columnar_rows(const std::filesystem::path& file,
                                              FileKind kind,
                                              const std::vector<std::string>& columns,
                                              const Settings& settings,
                                              const TakeBlock& take);

} // namespace muster::data
