/// What a model archive says about itself, beside its weights.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <map>
#include <string>

namespace muster::worker {

/// The metadata of an exported file: what is needed beside the weights to compute the same (docs/export.md has the
/// keys). Throws what torch, nlohmann and std do when the archive is not one of this program, or contradicts itself;
/// call it within judge_archive().
[[nodiscard]] std::map<std::string, std::string> archive_facts(const torch::jit::Module& archive);

} // namespace muster::worker
