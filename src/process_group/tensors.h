/// Tensors as the collectives see them: bytes, element types, reductions.
#pragma once

#include "collective/group.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/Types.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace muster::process_group {

using Tensors = std::vector<at::Tensor>;

/// The memory of a contiguous tensor; it lives as long as the tensor's storage.
[[nodiscard]] std::span<std::byte> bytes_of(const at::Tensor& tensor);
/// Bytes of each tensor's elements.
[[nodiscard]] std::vector<std::size_t> lengths_of(const Tensors& tensors);

/// The elements of tensors of any types and strides, one after the other, as a contiguous tensor of bytes. One
/// contiguous tensor is not copied.
[[nodiscard]] at::Tensor pack(const Tensors& tensors);
/// Bytes for pack()'s inverse to fill: the memory of the tensor itself when there is one and it is contiguous.
[[nodiscard]] at::Tensor space_for(const Tensors& tensors);
/// The memory of contiguous tensors that lie one after the other, as space_for() would make it; undefined, when they do
/// not: then what goes through it has to be copied.
[[nodiscard]] at::Tensor joined(const Tensors& tensors);
/// Copies `packed`, which has the size of pack(tensors), into the tensors. Does nothing when it is their own memory.
void unpack(const at::Tensor& packed, const Tensors& tensors);

/// Throws c10::Error unless all are dense CPU tensors.
void check_dense(const char* operation, const Tensors& tensors);
/// Throws c10::Error unless all have elements of one type.
void check_one_type(const char* operation, const Tensors& tensors);

/// Throws c10::Error, when elements of this type cannot be reduced.
[[nodiscard]] collective::ElementType element_type(at::ScalarType type);

/// What c10d's operation means to the group, for elements of `type`; the average is a sum that is divided later.
/// Throws c10::Error, when it cannot be done.
[[nodiscard]] collective::ReduceOp reduction(const c10d::ReduceOp& operation, at::ScalarType type);

} // namespace muster::process_group
