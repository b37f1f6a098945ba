/// Files without a name: gone with the last process that has them open.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace muster {

/// An error of the system about `what`. resource_exhausted, when a disk, a quota or a limit is full; else unavailable.
[[nodiscard]] Error file_error(int error_number, const std::string& what);

/// Opens an empty file in `folder` that has no name and can be given none, and reserves its room on the disk: when its
/// last descriptor is closed, by whatever end of the processes that have one, nothing is left of it. Its length is 0.
/// Errors: resource_exhausted, when there is not so much room; unavailable, with the system's reason.
[[nodiscard]] Result<UniqueFd> open_unnamed(const std::filesystem::path& folder, std::int64_t bytes);

} // namespace muster
