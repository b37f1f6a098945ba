/// The files of a data source: one file, or those of a folder.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <filesystem>
#include <vector>

namespace muster {

inline constexpr std::size_t source_files_max = 4096; ///< of a folder

/// Returns `path` itself when it is a file; of a folder its regular files in the order of their names, byte by byte,
/// without hidden ones (a name that begins with a dot or an underscore, as half-written files of other programs have)
/// and without those of folders in it. Errors: not_found; invalid_argument, for a folder without files and what is
/// neither; resource_exhausted over source_files_max; unavailable.
[[nodiscard]] Result<std::vector<std::filesystem::path>> source_files(const std::filesystem::path& path);

} // namespace muster
