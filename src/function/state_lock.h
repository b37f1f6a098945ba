/// One agent at a time for one state folder.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <filesystem>

namespace muster::function {

/// Makes the folder if it is absent and locks it as long as the descriptor is open; the kernel opens the lock when the
/// process ends, however it ends. A second agent would take the first one's worker over.
/// Errors: conflict, when another process has it; unavailable.
[[nodiscard]] Result<UniqueFd> lock_state(const std::filesystem::path& folder);

} // namespace muster::function
