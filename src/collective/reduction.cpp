#include "collective/reduction.h"

#include "collective/element.h"

#include <cstring>

namespace muster::collective {

std::size_t Reduction::element_bytes() const {
    return reducer_ != nullptr ? reducer_->element_bytes : size_of(type_);
}

std::size_t Reduction::work_bytes() const {
    return reducer_ == nullptr && is_half(type_) ? sizeof(float) : element_bytes();
}

void Reduction::load(std::span<const std::byte> elements, std::span<std::byte> work) const {
    if (has_work_format()) {
        widen(elements, type_, work);
    } else if (!elements.empty()) {
        std::memmove(work.data(), elements.data(), elements.size());
    }
}

void Reduction::combine(std::span<std::byte> accumulator, std::span<const std::byte> incoming) const {
    if (reducer_ != nullptr) {
        if (!accumulator.empty()) {
            reducer_->combine(accumulator, incoming);
        }
    } else {
        reduce_into(accumulator, incoming, has_work_format() ? ElementType::f32 : type_, op_);
    }
}

void Reduction::store(std::span<const std::byte> work, std::span<std::byte> elements) const {
    if (has_work_format()) {
        narrow(work, type_, elements);
    } else if (!elements.empty()) {
        std::memmove(elements.data(), work.data(), elements.size());
    }
}

std::optional<ElementType> Reduction::type() const {
    return reducer_ != nullptr ? std::nullopt : std::optional{type_};
}

std::optional<ReduceOp> Reduction::op() const {
    return reducer_ != nullptr ? std::nullopt : std::optional{op_};
}

} // namespace muster::collective
