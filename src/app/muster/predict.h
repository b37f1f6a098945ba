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

/// Runs `muster-worker predict --model MODEL --input FILE.csv`.
/// Errors: not_found, invalid_argument with row and column of the input; unavailable; deadline_exceeded.
[[nodiscard]] Result<Predictions> predict_file(const std::filesystem::path& model, const std::filesystem::path& input);

} // namespace muster::app
