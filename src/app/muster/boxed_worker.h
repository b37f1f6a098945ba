/// Asks muster-worker (the only program with libtorch) about a model archive, which it looks at in its sandbox.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::app {

/// Runs `muster-worker WORDS...` and gives the JSON object that it printed; `archive` is what errors call the archive.
/// The worker keeps `descriptors` and is ended after `patience`. `allow_missing` names parts of the sandbox (landlock,
/// seccomp) to do without where the kernel lacks them. The archive had a part in the answer, so nothing of it may be
/// taken for granted. Errors: not_found; invalid_argument, the worker's own, or when the archive tried what the sandbox
/// forbids; unavailable; deadline_exceeded.
[[nodiscard]] Result<nlohmann::json> ask_boxed_worker(std::vector<std::string> words,
                                                      const std::filesystem::path& archive,
                                                      const std::vector<std::string>& allow_missing,
                                                      const std::vector<int>& descriptors = {},
                                                      std::chrono::seconds patience = std::chrono::minutes{10});

} // namespace muster::app
