/// Element types: their names, sizes and the reductions on them. Pure.
#pragma once

#include "collective/group.h"

#include <cstddef>
#include <span>

namespace muster::collective {

[[nodiscard]] const char* name_of(ElementType type) noexcept;
[[nodiscard]] const char* name_of(ReduceOp op) noexcept;
/// Says whether the type is reduced in f32: f16 and bf16.
[[nodiscard]] bool is_half(ElementType type) noexcept;
[[nodiscard]] bool is_floating(ElementType type) noexcept;
/// Says whether the operation is for integers only.
[[nodiscard]] bool is_bitwise(ReduceOp op) noexcept;

/// Computes accumulator[i] = accumulator[i] op incoming[i]. Both hold the same whole number of elements, at any
/// alignment. Integers wrap around; min and max of floating-point numbers propagate NaN.
/// Not for f16 and bf16: widen() them first. REQUIRES: bitwise operations on integers only.
void reduce_into(std::span<std::byte> accumulator, std::span<const std::byte> incoming, ElementType type, ReduceOp op);

/// Converts f16 or bf16 to f32; `floats` has twice the bytes of `halves`.
void widen(std::span<const std::byte> halves, ElementType type, std::span<std::byte> floats);
/// Converts f32 to f16 or bf16, rounding to nearest even.
void narrow(std::span<const std::byte> floats, ElementType type, std::span<std::byte> halves);

} // namespace muster::collective
