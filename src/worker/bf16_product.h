/// Products of matrices in bf16 with sums in fp32, as mixed precision has them.
#pragma once

#include "worker/processor.h"

#include <ATen/core/Tensor.h>

namespace muster::worker {

/// Returns left x right, both rounded to bf16 (to nearest, ties to even; subnormal numbers become 0), products and sums
/// in fp32. Rounding is part of the packing that a fast product does anyway, so nothing of it is kept in memory. A row
/// of the result depends on that row of `left` and on `right` alone, not on the rows beside it, nor on the threads.
///   left   [rows, depth] fp32, any strides
///   right  [depth, columns] fp32, any strides
///   bias   [columns] fp32, added to each row; may be undefined
///   returns  [rows, columns] fp32, without history
/// The processor must have what Processor::bf16 says.
[[nodiscard]] at::Tensor bf16_product(const at::Tensor& left, const at::Tensor& right, const at::Tensor& bias = {});

/// Adds left x right, computed like that, to `sum` [rows, columns] fp32.
void add_bf16_product(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right);

} // namespace muster::worker
