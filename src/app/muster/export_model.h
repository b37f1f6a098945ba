/// Model archives in other formats: safetensors by muster-worker, ONNX from that by a Python program of ours.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::app {

/// What was written.
struct WrittenWeights {
    std::int64_t tensors{};
    std::int64_t bytes{};
};

/// Writes the weights of an archive to `out` as safetensors (docs/export.md), by `muster-worker export`, which closes
/// its sandbox before it looks at the archive. `out` appears complete or not at all; `allow_missing` names parts of the
/// sandbox to do without.
/// Errors: as ask_boxed_worker(); unavailable, when `out` cannot be written.
[[nodiscard]] Result<WrittenWeights> export_safetensors(const std::filesystem::path& archive,
                                                        const std::filesystem::path& out,
                                                        const std::vector<std::string>& allow_missing);

/// Makes an ONNX file of what export_safetensors() has written, with our package muster_onnx and `python`, a program or
/// its name in $PATH. `out` appears complete or not at all. Errors: not_found, with the remedy, when Python or a
/// package of it is missing; invalid_argument, when the weights are not a model that can be written so, or `out` cannot
/// be written; unavailable; deadline_exceeded.
[[nodiscard]] Result<void>
export_onnx(const std::filesystem::path& weights, const std::filesystem::path& out, const std::string& python);

} // namespace muster::app
