/// Whether a model of a user is a chain of layers, which may be cut into stages.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace muster::worker {

/// Puts the layers into `layers` when forward() of `root` is nothing but one after the other; else says in `why` what
/// keeps it from being a chain. Looks at the code and runs nothing.
void find_chain(const torch::jit::Module& root, std::vector<torch::jit::Module>& layers, std::string& why);

} // namespace muster::worker
