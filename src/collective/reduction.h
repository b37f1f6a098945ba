/// Reduction: how elements are combined, whoever says so. Pure.
#pragma once

#include "collective/group.h"

#include <cstddef>
#include <optional>
#include <span>

namespace muster::collective {

/// A built-in operation on a type, or a caller's own. f16 and bf16 are combined as f32, their work format.
class Reduction {
public:
    Reduction(ElementType type, ReduceOp op) : type_{type}, op_{op} {}
    explicit Reduction(const Reducer& reducer) : reducer_{&reducer} {} ///< borrowed

    [[nodiscard]] std::size_t element_bytes() const;
    /// Of an element in the work format.
    [[nodiscard]] std::size_t work_bytes() const;
    [[nodiscard]] bool has_work_format() const { return work_bytes() != element_bytes(); }
    /// Writes elements in the work format.
    void load(std::span<const std::byte> elements, std::span<std::byte> work) const;
    /// accumulator = accumulator op incoming, both in the work format.
    void combine(std::span<std::byte> accumulator, std::span<const std::byte> incoming) const;
    /// Writes elements from the work format, rounding to nearest even.
    void store(std::span<const std::byte> work, std::span<std::byte> elements) const;

    [[nodiscard]] std::optional<ElementType> type() const;
    [[nodiscard]] std::optional<ReduceOp> op() const;

private:
    ElementType type_{ElementType::u8};
    ReduceOp op_{ReduceOp::sum};
    const Reducer* reducer_{};
};

} // namespace muster::collective
