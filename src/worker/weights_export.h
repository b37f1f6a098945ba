/// Takes the weights out of a model archive.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace muster::worker {

/// What was written.
struct ExportedWeights {
    std::int64_t tensors{};
    std::int64_t bytes{}; ///< of the whole file
};

/// Writes the weights of an archive, which may come from anybody (see sandbox.h), as a safetensors file: tensors as
/// they are called in the archive, without the leading "body.", and what archive_facts() says. `archive` is a file,
/// read by position; errors call it `name`. `output` is an empty file, written from its current position, one tensor
/// after the other, and synced. The archive is in memory once. Errors: invalid_argument, when the archive is not one of
/// ours, or a tensor is not stored in it whole. Throws std::bad_alloc; std::system_error when writing fails.
[[nodiscard]] Result<ExportedWeights> export_weights(int archive, const std::string& name, int output);

} // namespace muster::worker
