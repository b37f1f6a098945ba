/// Sums of sparse tensors.
#pragma once

#include "collective/group.h"

#include <ATen/core/Tensor.h>

namespace muster::process_group {

/// Replaces `tensor` (COO) by the sum over all ranks, coalesced. Ranks may hold any number of elements, of the same
/// shape; a rank that does not throws c10::Error. Throws what the group throws.
void sum_sparse(collective::Group& group, const at::Tensor& tensor);

} // namespace muster::process_group
