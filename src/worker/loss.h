/// Losses as sums, so that parts of a batch add up to the whole whatever their sizes (algorithms.md 2.2).
#pragma once

#include "model/recipe.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace muster::worker {

/// What is minimised.
struct LossTerms {
    Loss kind{Loss::mse};
    double quantile{0.5};
    std::vector<double> class_weights{}; ///< how much a row counts by its class; none: all as much
};

/// Returns the loss of each local row, summed, divided by `global_rows`: a scalar. Summed over all members it is the
/// mean loss of the global batch. A cross_entropy of two classes has one output and is a binary_cross_entropy.
///   outputs  of ModelProgram::forward; n may be 0. Of a text the mean is over tokens, and every row has as many
///   target   as in Batch
/// With class weights a row's loss counts by that of its class, and the number of rows stays what it is divided by.
[[nodiscard]] at::Tensor
loss_part(const LossTerms& loss, const at::Tensor& outputs, const at::Tensor& target, std::int64_t global_rows);

} // namespace muster::worker
