/// c10d::Reducer as the engines use it: buckets of gradients that leave while backward still runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <memory>
#include <vector>

namespace muster::worker {

/// Returns a reducer of these parameters, all of which take part in every backward pass. Gradients are views of its
/// buckets. It has no hook yet.
[[nodiscard]] std::unique_ptr<c10d::Reducer> make_reducer(std::vector<at::Tensor> parameters,
                                                          const c10::intrusive_ptr<c10d::ProcessGroup>& group);

} // namespace muster::worker
