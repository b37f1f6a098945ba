/// Predictions of an exported model, computed by muster-worker (the only program with libtorch).
#pragma once

#include "base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::app {

/// One row of outputs for each row of the input file.
struct Predictions {
    std::string output; ///< name of the target
    std::vector<std::vector<double>> rows;
};

/// Runs `muster-worker predict --model MODEL --input FILE.csv`, which closes its sandbox before it looks at the
/// archive; `allow_missing` names parts of the sandbox (landlock, seccomp) to do without where the kernel lacks them.
/// Errors: not_found, invalid_argument with row and column of the input, or when the archive tried what the sandbox
/// forbids; unavailable; deadline_exceeded.
[[nodiscard]] Result<Predictions> predict_file(const std::filesystem::path& model,
                                               const std::filesystem::path& input,
                                               const std::vector<std::string>& allow_missing = {});

} // namespace muster::app
