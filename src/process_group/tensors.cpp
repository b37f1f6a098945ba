#include "process_group/tensors.h"

#include <ATen/Functions.h>

#include <cstring>

namespace muster::process_group {

using collective::ElementType;

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
    return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

std::vector<std::size_t> lengths_of(const Tensors& tensors) {
    std::vector<std::size_t> lengths;
    for (const auto& tensor : tensors) {
        lengths.push_back(tensor.nbytes());
    }
    return lengths;
}

namespace {

/// A contiguous tensor's memory as a tensor of bytes.
at::Tensor as_bytes(const at::Tensor& tensor) {
    return at::from_blob(
        tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, [tensor](void* /*owned*/) {}, at::kByte);
}

} // namespace

at::Tensor pack(const Tensors& tensors) {
    const auto packed = space_for(tensors);
    auto place = bytes_of(packed);
    for (const auto& tensor : tensors) {
        const auto dense = tensor.contiguous();
        if (const auto bytes = bytes_of(dense); !bytes.empty() && bytes.data() != place.data()) {
            std::memcpy(place.data(), bytes.data(), bytes.size());
        }
        place = place.subspan(dense.nbytes());
    }
    return packed;
}

at::Tensor space_for(const Tensors& tensors) {
    if (tensors.size() == 1 && tensors.front().is_contiguous()) {
        return as_bytes(tensors.front());
    }
    std::size_t total = 0;
    for (const auto& tensor : tensors) {
        total += tensor.nbytes();
    }
    return at::empty({static_cast<std::int64_t>(total)}, at::kByte);
}

at::Tensor joined(const Tensors& tensors) {
    std::byte* begin = nullptr;
    std::byte* end = nullptr;
    for (const auto& tensor : tensors) {
        if (tensor.nbytes() == 0) {
            continue;
        }
        const auto bytes = bytes_of(tensor);
        if (!tensor.is_contiguous() || (end != nullptr && bytes.data() != end)) {
            return {};
        }
        begin = end == nullptr ? bytes.data() : begin;
        end = bytes.data() + bytes.size();
    }
    return at::from_blob(
        begin, {end - begin}, [tensors](void* /*owned*/) {}, at::kByte);
}

void unpack(const at::Tensor& packed, const Tensors& tensors) {
    auto place = bytes_of(packed);
    for (const auto& tensor : tensors) {
        const auto dense = tensor.is_contiguous() ? tensor : at::empty_like(tensor, at::MemoryFormat::Contiguous);
        const auto bytes = bytes_of(dense);
        if (!bytes.empty() && bytes.data() != place.data()) {
            std::memcpy(bytes.data(), place.data(), bytes.size());
        }
        if (!dense.is_same(tensor)) {
            tensor.copy_(dense);
        }
        place = place.subspan(bytes.size());
    }
}

void check_dense(const char* operation, const Tensors& tensors) {
    for (const auto& tensor : tensors) {
        TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && tensor.device().is_cpu(),
                    "Backend muster: ",
                    operation,
                    " takes dense CPU tensors only");
    }
}

void check_one_type(const char* operation, const Tensors& tensors) {
    for (const auto& tensor : tensors) {
        TORCH_CHECK_TYPE(tensor.scalar_type() == tensors.front().scalar_type(),
                         "Backend muster: ",
                         operation,
                         " of different types, ",
                         at::toString(tensors.front().scalar_type()),
                         " and ",
                         at::toString(tensor.scalar_type()));
    }
}

ElementType element_type(at::ScalarType type) {
    switch (type) {
    case at::kFloat:
        return ElementType::f32;
    case at::kDouble:
        return ElementType::f64;
    case at::kHalf:
        return ElementType::f16;
    case at::kBFloat16:
        return ElementType::bf16;
    case at::kChar:
        return ElementType::i8;
    case at::kBool:
    case at::kByte:
        return ElementType::u8;
    case at::kShort:
        return ElementType::i16;
    case at::kInt:
        return ElementType::i32;
    case at::kLong:
        return ElementType::i64;
    default:
        TORCH_CHECK(false, "Backend muster cannot reduce elements of type ", at::toString(type));
    }
}

namespace {

collective::ReduceOp bitwise(collective::ReduceOp operation, at::ScalarType type) {
    TORCH_CHECK(at::isIntegralType(type, true), "Backend muster: bitwise reductions are for integers only");
    return operation;
}

} // namespace

collective::ReduceOp reduction(const c10d::ReduceOp& operation, at::ScalarType type) {
    const bool is_bool = type == at::kBool;
    switch (operation.op_) {
    case c10d::ReduceOp::AVG:
        TORCH_CHECK(at::isFloatingType(type), "Backend muster averages floating-point elements only");
        return collective::ReduceOp::sum;
    // A sum of bytes could reach 2, which is no bool: "or" and "and" are the largest and the smallest.
    case c10d::ReduceOp::SUM:
        return is_bool ? collective::ReduceOp::max : collective::ReduceOp::sum;
    case c10d::ReduceOp::PRODUCT:
        return is_bool ? collective::ReduceOp::min : collective::ReduceOp::product;
    case c10d::ReduceOp::MIN:
        return collective::ReduceOp::min;
    case c10d::ReduceOp::MAX:
        return collective::ReduceOp::max;
    case c10d::ReduceOp::BAND:
        return bitwise(collective::ReduceOp::bit_and, type);
    case c10d::ReduceOp::BOR:
        return bitwise(collective::ReduceOp::bit_or, type);
    case c10d::ReduceOp::BXOR:
        return bitwise(collective::ReduceOp::bit_xor, type);
    default:
        TORCH_CHECK(false, "Backend muster reduces by sum, avg, product, min, max, and bitwise and, or, xor only");
    }
}

} // namespace muster::process_group
