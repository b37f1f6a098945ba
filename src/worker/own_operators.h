/// Operators of ours that the sources of networks call beside torch's. They are for training: archives have none, since
/// plain PyTorch does not know them.
#pragma once

#include <torch/csrc/jit/frontend/resolver.h>

namespace muster::worker {

/// For Module::define: knows `torch`, and as `muster` the operators of dropout.h and accumulating_linear.h.
[[nodiscard]] torch::jit::ResolverPtr operator_resolver();

} // namespace muster::worker
