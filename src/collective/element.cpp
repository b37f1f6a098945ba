#include "collective/element.h"

#include "base/assert.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace muster::collective {
namespace {

/// Integers are computed unsigned, where overflow is defined.
template <typename T, bool = std::is_integral_v<T>>
struct Arithmetic {
    using type = T;
};
template <typename T>
struct Arithmetic<T, true> {
    using type = std::conditional_t<sizeof(T) <= 4, std::uint32_t, std::uint64_t>;
};

struct Sum {
    template <typename T>
    static T apply(T a, T b) {
        using Wide = typename Arithmetic<T>::type;
        return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
    }
};
struct Product {
    template <typename T>
    static T apply(T a, T b) {
        using Wide = typename Arithmetic<T>::type;
        return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
    }
};
// A NaN on either side wins: a comparison with NaN is false, so the first test finds `a`, the second falls to `b`.
struct Min {
    template <typename T>
    static T apply(T a, T b) {
        return a < b || a != a ? a : b;
    }
};
struct Max {
    template <typename T>
    static T apply(T a, T b) {
        return a > b || a != a ? a : b;
    }
};

struct BitAnd {
    template <typename T>
    static T apply(T a, T b) {
        return static_cast<T>(a & b);
    }
};
struct BitOr {
    template <typename T>
    static T apply(T a, T b) {
        return static_cast<T>(a | b);
    }
};
struct BitXor {
    template <typename T>
    static T apply(T a, T b) {
        return static_cast<T>(a ^ b);
    }
};

template <typename T, typename Op>
void reduce_each(std::byte* accumulator, const std::byte* incoming, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        T a{};
        T b{};
        std::memcpy(&a, accumulator + i * sizeof(T), sizeof(T));
        std::memcpy(&b, incoming + i * sizeof(T), sizeof(T));
        a = Op::template apply<T>(a, b);
        std::memcpy(accumulator + i * sizeof(T), &a, sizeof(T));
    }
}

template <typename T>
void reduce_as(std::span<std::byte> accumulator, std::span<const std::byte> incoming, ReduceOp op) {
    const std::size_t count = accumulator.size() / sizeof(T);
    switch (op) {
    case ReduceOp::sum:
        return reduce_each<T, Sum>(accumulator.data(), incoming.data(), count);
    case ReduceOp::product:
        return reduce_each<T, Product>(accumulator.data(), incoming.data(), count);
    case ReduceOp::min:
        return reduce_each<T, Min>(accumulator.data(), incoming.data(), count);
    case ReduceOp::max:
        return reduce_each<T, Max>(accumulator.data(), incoming.data(), count);
    default:
        break;
    }
    if constexpr (std::is_integral_v<T>) {
        switch (op) {
        case ReduceOp::bit_and:
            return reduce_each<T, BitAnd>(accumulator.data(), incoming.data(), count);
        case ReduceOp::bit_or:
            return reduce_each<T, BitOr>(accumulator.data(), incoming.data(), count);
        case ReduceOp::bit_xor:
            return reduce_each<T, BitXor>(accumulator.data(), incoming.data(), count);
        default:
            break;
        }
    }
    MUSTER_ASSERT(false);
}

float from_bf16(std::uint16_t half) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16U);
}

std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U;
    const std::uint32_t nan = bits >> 16U | 0x40U; // Rounding could carry a NaN over to infinity.
    return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? nan : rounded);
}

float from_f16(std::uint16_t half) {
    // The exponent is moved to its place by a multiplication, which also makes subnormal numbers normal.
    const std::uint32_t sign = (half & 0x8000U) << 16U;
    const std::uint32_t magnitude = half & 0x7fffU;
    const float scaled = std::bit_cast<float>(magnitude << 13U) * 0x1p112F;
    const std::uint32_t special = magnitude << 13U | 0x7f800000U; // infinity or NaN
    return std::bit_cast<float>(sign | (magnitude >= 0x7c00U ? special : std::bit_cast<std::uint32_t>(scaled)));
}

std::uint16_t to_f16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16U & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    std::uint32_t half = 0;
    if (magnitude > 0x7f800000U) {
        half = 0x7e00U | (magnitude >> 13U & 0x3ffU); // NaN
    } else if (magnitude >= 0x477ff000U) {
        half = 0x7c00U; // 65520 and more round to infinity
    } else if (magnitude < 0x38800000U) {
        // Subnormal: adding 0.5 lets the adder round to the grid of 2^-24.
        half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
    } else {
        half = (magnitude - 0x38000000U + 0xfffU + (magnitude >> 13U & 1U)) >> 13U;
    }
    return static_cast<std::uint16_t>(sign | half);
}

template <typename Convert>
void widen_each(std::span<const std::byte> halves, std::byte* floats, Convert convert) {
    for (std::size_t i = 0; i < halves.size() / 2; ++i) {
        std::uint16_t half{};
        std::memcpy(&half, halves.data() + 2 * i, 2);
        const float value = convert(half);
        std::memcpy(floats + 4 * i, &value, 4);
    }
}

template <typename Convert>
void narrow_each(const std::byte* floats, std::span<std::byte> halves, Convert convert) {
    for (std::size_t i = 0; i < halves.size() / 2; ++i) {
        float value{};
        std::memcpy(&value, floats + 4 * i, 4);
        const std::uint16_t half = convert(value);
        std::memcpy(halves.data() + 2 * i, &half, 2);
    }
}

} // namespace

std::size_t size_of(ElementType type) noexcept {
    switch (type) {
    case ElementType::i8:
    case ElementType::u8:
        return 1;
    case ElementType::f16:
    case ElementType::bf16:
    case ElementType::i16:
        return 2;
    case ElementType::f32:
    case ElementType::i32:
        return 4;
    case ElementType::f64:
    case ElementType::i64:
        return 8;
    }
    return 0;
}

const char* name_of(ElementType type) noexcept {
    switch (type) {
    case ElementType::f32:
        return "f32";
    case ElementType::f64:
        return "f64";
    case ElementType::f16:
        return "f16";
    case ElementType::bf16:
        return "bf16";
    case ElementType::i8:
        return "i8";
    case ElementType::u8:
        return "u8";
    case ElementType::i16:
        return "i16";
    case ElementType::i32:
        return "i32";
    case ElementType::i64:
        return "i64";
    }
    return "unknown type";
}

const char* name_of(ReduceOp op) noexcept {
    switch (op) {
    case ReduceOp::sum:
        return "sum";
    case ReduceOp::product:
        return "product";
    case ReduceOp::min:
        return "min";
    case ReduceOp::max:
        return "max";
    case ReduceOp::bit_and:
        return "bit_and";
    case ReduceOp::bit_or:
        return "bit_or";
    case ReduceOp::bit_xor:
        return "bit_xor";
    }
    return "unknown operation";
}

bool is_floating(ElementType type) noexcept {
    return type == ElementType::f32 || type == ElementType::f64 || is_half(type);
}

bool is_bitwise(ReduceOp op) noexcept {
    return op == ReduceOp::bit_and || op == ReduceOp::bit_or || op == ReduceOp::bit_xor;
}

bool is_half(ElementType type) noexcept {
    return type == ElementType::f16 || type == ElementType::bf16;
}

void reduce_into(std::span<std::byte> accumulator, std::span<const std::byte> incoming, ElementType type, ReduceOp op) {
    MUSTER_ASSERT(accumulator.size() == incoming.size());
    switch (type) {
    case ElementType::f32:
        return reduce_as<float>(accumulator, incoming, op);
    case ElementType::f64:
        return reduce_as<double>(accumulator, incoming, op);
    case ElementType::i8:
        return reduce_as<std::int8_t>(accumulator, incoming, op);
    case ElementType::u8:
        return reduce_as<std::uint8_t>(accumulator, incoming, op);
    case ElementType::i16:
        return reduce_as<std::int16_t>(accumulator, incoming, op);
    case ElementType::i32:
        return reduce_as<std::int32_t>(accumulator, incoming, op);
    case ElementType::i64:
        return reduce_as<std::int64_t>(accumulator, incoming, op);
    case ElementType::f16:
    case ElementType::bf16:
        break;
    }
    MUSTER_ASSERT(false);
}

void widen(std::span<const std::byte> halves, ElementType type, std::span<std::byte> floats) {
    MUSTER_ASSERT(is_half(type) && floats.size() == 2 * halves.size());
    if (type == ElementType::f16) {
        widen_each(halves, floats.data(), from_f16);
    } else {
        widen_each(halves, floats.data(), from_bf16);
    }
}

void narrow(std::span<const std::byte> floats, ElementType type, std::span<std::byte> halves) {
    MUSTER_ASSERT(is_half(type) && floats.size() == 2 * halves.size());
    if (type == ElementType::f16) {
        narrow_each(floats.data(), halves, to_f16);
    } else {
        narrow_each(floats.data(), halves, to_bf16);
    }
}

} // namespace muster::collective
