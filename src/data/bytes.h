/// The bytes of a source, unpacked when it is gzip.
#pragma once

#include "base/result.h"
#include "data/settings.h"

#include <arrow/io/interfaces.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace muster::data {

/// Opens a regular file; gzip is recognised by its first two bytes, not by the name.
/// Errors: not_found; invalid_argument (no regular file); what reading_refusal says.
[[nodiscard]] Result<std::shared_ptr<arrow::io::InputStream>> open_file(const std::filesystem::path& path);

/// Returns the first eight bytes of a regular file, or what there is. Errors: not_found, invalid_argument, unavailable.
[[nodiscard]] Result<std::string> first_bytes(const std::filesystem::path& path);

/// Says in our words what Arrow's streams found.
[[nodiscard]] Error reading_refusal(const std::string& file, const arrow::Status& status);

/// Reads all bytes of a file, or of the files of a folder one after the other, and passes them to `take` piece by piece
/// until it refuses. Errors: those of source_files and open_file; invalid_argument (broken gzip), unavailable,
/// resource_exhausted over settings.source_bytes_max; what `take` returned.
[[nodiscard]] Result<void> read_bytes(const std::filesystem::path& path,
                                      const Settings& settings,
                                      const std::function<Result<void>(std::string_view)>& take);

} // namespace muster::data
