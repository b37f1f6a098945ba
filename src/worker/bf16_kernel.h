/// The innermost loops of products in bf16, for processors with AVX512_BF16. For bf16_product.cpp alone.
///
/// A product left x right is computed in tiles. Both sides are packed into panels first: so many lines (rows of left,
/// columns of right) beside each other, rounded to bf16, two numbers of each line that follow one another in one word,
/// which is what the processor multiplies and adds at once.
#pragma once

#include <cstdint>

namespace muster::worker::bf16 {

// 12 x 32 sums take 24 of the processor's 32 registers; with two of the right side and one of the left there is room.
inline constexpr std::int64_t tile_rows = 12;
inline constexpr std::int64_t tile_columns = 32;

/// Whether this build has the loops: else none of the functions may be called.
[[nodiscard]] bool is_compiled();

/// Lines of a matrix of fp32 numbers. One of the strides is 1.
struct Lines {
    const float* first{};        ///< the first number of the first line
    std::int64_t line_stride{};  ///< from a line to the next
    std::int64_t depth_stride{}; ///< from a number of a line to the next
};

/// Packs `lines` lines of `depth` numbers into a panel of `width` (tile_rows or tile_columns) lines: word [pair, line].
/// Lines that are missing, and the second number of a last pair, are 0. `panel` holds (depth + 1) / 2 x width words.
void pack(const Lines& source, std::int64_t lines, std::int64_t depth, std::int64_t width, std::uint32_t* panel);

/// Where the sums of a tile go.
struct Target {
    float* first{};
    std::int64_t row_stride{};
    std::int64_t rows{};    ///< at most tile_rows
    std::int64_t columns{}; ///< at most tile_columns
    const float* bias{};    ///< added to each row; may be null
    bool add{};             ///< to what is there, which is replaced otherwise
};

/// Multiplies a panel of tile_rows with one of tile_columns, each of `pairs` pairs. Sums are fp32, in the order of the
/// pairs whatever the tile's place, so that a row's numbers do not depend on the rows beside it.
void multiply(const std::uint32_t* left, const std::uint32_t* right, std::int64_t pairs, const Target& target);

} // namespace muster::worker::bf16
