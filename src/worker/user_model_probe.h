/// Whether a model of a user keeps to its contract, found out on two rows.
#pragma once

#include "worker/run_watch.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::worker {

struct ProbeOrder {
    at::Tensor rows;        ///< [2, columns], or int64 [2, tokens]
    std::int64_t outputs{}; ///< of each row or token
    at::ScalarType type{at::kFloat};
    RunWatch* watch{}; ///< told of each run; may be null
};

struct ProbeResult {
    std::vector<std::string> problems{};
    std::vector<std::vector<std::int64_t>> sizes{}; ///< of what each layer gives for a row
};

/// Runs the model forward on both rows and on each alone, and backward; where `layers` are given these one after the
/// other, with the gradients of one layer in memory. Parameters are not copied: they have to require gradients, which
/// are gone afterwards. Throws what the program throws.
[[nodiscard]] ProbeResult
probe_model(torch::jit::Module root, const std::vector<torch::jit::Module>& layers, const ProbeOrder& order);

} // namespace muster::worker
