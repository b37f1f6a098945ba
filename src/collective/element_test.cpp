#include "collective/element.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace muster::collective {
namespace {

template <typename T>
T reduced(T a, T b, ElementType type, ReduceOp op) {
    reduce_into(std::as_writable_bytes(std::span{&a, 1}), std::as_bytes(std::span{&b, 1}), type, op);
    return a;
}

std::uint16_t to_half(float value, ElementType type) {
    std::uint16_t half{};
    narrow(std::as_bytes(std::span{&value, 1}), type, std::as_writable_bytes(std::span{&half, 1}));
    return half;
}

float to_float(std::uint16_t half, ElementType type) {
    float value{};
    widen(std::as_bytes(std::span{&half, 1}), type, std::as_writable_bytes(std::span{&value, 1}));
    return value;
}

TEST(Element, knows_its_size) {
    EXPECT_EQ(size_of(ElementType::i8), 1U);
    EXPECT_EQ(size_of(ElementType::bf16), 2U);
    EXPECT_EQ(size_of(ElementType::f32), 4U);
    EXPECT_EQ(size_of(ElementType::i64), 8U);
    EXPECT_EQ(size_of(static_cast<ElementType>(99)), 0U);
}

TEST(Element, reduces_numbers) {
    EXPECT_EQ(reduced(2.5, 3.0, ElementType::f64, ReduceOp::product), 7.5);
    EXPECT_EQ(reduced(2.5F, -3.0F, ElementType::f32, ReduceOp::min), -3.0F);
    EXPECT_EQ(reduced(2.5F, -3.0F, ElementType::f32, ReduceOp::max), 2.5F);
    EXPECT_EQ(reduced<std::uint8_t>(200, 3, ElementType::u8, ReduceOp::max), 200);
    EXPECT_EQ(reduced<std::int8_t>(-56, 3, ElementType::i8, ReduceOp::max), 3);
}

TEST(Element, wraps_integers_around) {
    constexpr auto top = std::numeric_limits<std::int32_t>::max();
    EXPECT_EQ(reduced<std::int32_t>(top, 1, ElementType::i32, ReduceOp::sum), std::numeric_limits<std::int32_t>::min());
    EXPECT_EQ(reduced<std::uint8_t>(200, 100, ElementType::u8, ReduceOp::sum), 44);
    EXPECT_EQ(reduced<std::int64_t>(std::int64_t{1} << 62, 4, ElementType::i64, ReduceOp::product), 0);
}

TEST(Element, lets_nan_win_minimum_and_maximum) {
    const auto nan = std::numeric_limits<float>::quiet_NaN();
    for (const auto op : {ReduceOp::min, ReduceOp::max}) {
        EXPECT_TRUE(std::isnan(reduced(nan, 1.0F, ElementType::f32, op)));
        EXPECT_TRUE(std::isnan(reduced(1.0F, nan, ElementType::f32, op)));
    }
}

TEST(Element, converts_every_half_there_and_back) {
    for (const auto type : {ElementType::f16, ElementType::bf16}) {
        for (unsigned bits = 0; bits <= 0xffff; ++bits) {
            const auto half = static_cast<std::uint16_t>(bits);
            const float value = to_float(half, type);
            if (std::isnan(value)) {
                EXPECT_TRUE(std::isnan(to_float(to_half(value, type), type)));
            } else {
                ASSERT_EQ(to_half(value, type), half) << value;
            }
        }
    }
}

TEST(Element, knows_the_landmarks_of_f16) {
    EXPECT_EQ(to_float(0x3c00, ElementType::f16), 1.0F);
    EXPECT_EQ(to_float(0x7bff, ElementType::f16), 65504.0F);
    EXPECT_EQ(to_float(0x0001, ElementType::f16), std::ldexp(1.0F, -24));
    EXPECT_EQ(to_float(0xfc00, ElementType::f16), -std::numeric_limits<float>::infinity());
}

TEST(Element, rounds_to_nearest_even) {
    EXPECT_EQ(to_half(65519.0F, ElementType::f16), 0x7bff);
    EXPECT_EQ(to_half(65520.0F, ElementType::f16), 0x7c00);
    EXPECT_EQ(to_half(2049.0F, ElementType::f16), to_half(2048.0F, ElementType::f16));
    EXPECT_EQ(to_half(2051.0F, ElementType::f16), to_half(2052.0F, ElementType::f16));
    EXPECT_EQ(to_half(std::ldexp(1.0F, -25), ElementType::f16), 0x0000);
    EXPECT_EQ(to_half(std::ldexp(1.5F, -25), ElementType::f16), 0x0001);
    EXPECT_EQ(to_half(std::bit_cast<float>(0x3f808000U), ElementType::bf16), 0x3f80);
    EXPECT_EQ(to_half(std::bit_cast<float>(0x3f818000U), ElementType::bf16), 0x3f82);
    EXPECT_EQ(to_half(std::numeric_limits<float>::max(), ElementType::bf16), 0x7f80);
}

} // namespace
} // namespace muster::collective
