/// Whole files: read with a limit, replaced in one step.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace muster {

/// Reads a file of at most `bytes_max` bytes. Errors: not_found; resource_exhausted, when larger.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path, std::uintmax_t bytes_max = 16U << 20U);

/// Writes a temporary file beside `path`, fsyncs it, renames it over `path` and fsyncs the folder:
/// a reader sees the old content or the new, never a part. `mode` are the permission bits.
/// Errors: unavailable, with the system's reason (disk full, no permission).
[[nodiscard]] Result<void>
replace_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

} // namespace muster
