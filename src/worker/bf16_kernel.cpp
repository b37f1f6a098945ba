// Compiled for AVX512_BF16 (CMakeLists.txt), unlike the rest of the program: nothing is included here that another file
// compiles too, or the linker might take this file's copy for all, and the program would end on other processors.
#include "worker/bf16_kernel.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)

#include <immintrin.h>

namespace muster::worker::bf16 {
namespace {

constexpr int lanes = 16; ///< fp32 numbers, or words of two bf16, of a register

/// The first `count` lanes; none for less than 1.
__mmask16 first_lanes(std::int64_t count) {
    return static_cast<__mmask16>(count >= lanes ? 0xFFFFU
                                  : count <= 0   ? 0U
                                                 : (1U << static_cast<unsigned>(count)) - 1U);
}

/// Rounded to bf16: `low` in the first half, `high` in the second.
__m512i rounded(__m512 low, __m512 high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

/// Turns rows of words into columns.
void transpose(__m512i* words) {
    __m512i other[lanes];
    for (int i = 0; i < lanes; i += 2) {
        other[i] = _mm512_unpacklo_epi32(words[i], words[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(words[i], words[i + 1]);
    }
    for (int i = 0; i < lanes; i += 4) {
        words[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
        words[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
        words[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
        words[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
    }
    constexpr int even = 0x88; // quarters 0 and 2 of both
    constexpr int odd = 0xDD;  // quarters 1 and 3
    for (int i = 0; i < 4; ++i) {
        other[i] = _mm512_shuffle_i32x4(words[i], words[i + 4], even);
        other[i + 4] = _mm512_shuffle_i32x4(words[i], words[i + 4], odd);
        other[i + 8] = _mm512_shuffle_i32x4(words[i + 8], words[i + 12], even);
        other[i + 12] = _mm512_shuffle_i32x4(words[i + 8], words[i + 12], odd);
    }
    for (int i = 0; i < 4; ++i) {
        words[i] = _mm512_shuffle_i32x4(other[i], other[i + 8], even);
        words[i + 4] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], even);
        words[i + 8] = _mm512_shuffle_i32x4(other[i], other[i + 8], odd);
        words[i + 12] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], odd);
    }
}

/// Lines whose numbers lie beside each other: 16 pairs of 16 lines at a time.
void pack_along(const Lines& source, std::int64_t lines, std::int64_t depth, std::int64_t width, std::uint32_t* panel) {
    for (std::int64_t line = 0; line < width; line += lanes) {
        const __mmask16 kept = first_lanes(width - line);
        for (std::int64_t at = 0; at < depth; at += 2 * lanes) {
            const __mmask16 low = first_lanes(depth - at);
            const __mmask16 high = first_lanes(depth - at - lanes);
            __m512i words[lanes];
            for (int i = 0; i < lanes; ++i) {
                const float* const from = source.first + (line + i) * source.line_stride + at;
                words[i] = line + i < lines
                               ? rounded(_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from + lanes))
                               : _mm512_setzero_si512();
            }
            transpose(words);
            const std::int64_t pairs = (depth - at + 1) / 2;
            for (int i = 0; i < lanes && i < pairs; ++i) {
                _mm512_mask_storeu_epi32(panel + (at / 2 + i) * width + line, kept, words[i]);
            }
        }
    }
}

/// Lines that lie beside each other: two numbers of 16 lines at a time.
void pack_across(
    const Lines& source, std::int64_t lines, std::int64_t depth, std::int64_t width, std::uint32_t* panel) {
    alignas(64) static constexpr std::uint16_t order[2 * lanes] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                                   21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                                   11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i turns = _mm512_load_si512(order);
    for (std::int64_t at = 0; at < depth; at += 2) {
        for (std::int64_t line = 0; line < width; line += lanes) {
            const __mmask16 there = first_lanes(lines - line);
            const float* const from = source.first + at * source.depth_stride + line;
            const __m512i words =
                rounded(_mm512_maskz_loadu_ps(there, from),
                        _mm512_maskz_loadu_ps(at + 1 < depth ? there : __mmask16{0}, from + source.depth_stride));
            _mm512_mask_storeu_epi32(
                panel + at / 2 * width + line, first_lanes(width - line), _mm512_permutexvar_epi16(turns, words));
        }
    }
}

} // namespace

bool is_compiled() {
    return true;
}

void pack(const Lines& source, std::int64_t lines, std::int64_t depth, std::int64_t width, std::uint32_t* panel) {
    if (source.depth_stride == 1) {
        pack_along(source, lines, depth, width, panel);
    } else {
        pack_across(source, lines, depth, width, panel);
    }
}

// The loops over a tile's rows must be unrolled, or the sums leave the registers.
void multiply(const std::uint32_t* left, const std::uint32_t* right, std::int64_t pairs, const Target& target) {
    __m512 sums[tile_rows][2];
#pragma GCC unroll 12
    for (auto& row : sums) {
        row[0] = _mm512_setzero_ps();
        row[1] = _mm512_setzero_ps();
    }
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
        const auto first = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right));
        const auto second = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + lanes));
#pragma GCC unroll 12
        for (int i = 0; i < tile_rows; ++i) {
            const auto both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(left[i])));
            sums[i][0] = _mm512_dpbf16_ps(sums[i][0], first, both);
            sums[i][1] = _mm512_dpbf16_ps(sums[i][1], second, both);
        }
        left += tile_rows;
        right += tile_columns;
    }
    const __mmask16 kept[2] = {first_lanes(target.columns), first_lanes(target.columns - lanes)};
    __m512 bias[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    if (target.bias != nullptr) {
        bias[0] = _mm512_maskz_loadu_ps(kept[0], target.bias);
        bias[1] = _mm512_maskz_loadu_ps(kept[1], target.bias + lanes);
    }
#pragma GCC unroll 12
    for (int i = 0; i < tile_rows; ++i) {
        if (i < target.rows) {
            float* const to = target.first + i * target.row_stride;
            for (int half = 0; half < 2; ++half) {
                float* const place = to + half * lanes;
                const __m512 before = target.add ? _mm512_maskz_loadu_ps(kept[half], place) : bias[half];
                _mm512_mask_storeu_ps(place, kept[half], _mm512_add_ps(sums[i][half], before));
            }
        }
    }
}

} // namespace muster::worker::bf16

#else // another kind of processor, or a compiler that does not know this one

namespace muster::worker::bf16 {

bool is_compiled() {
    return false;
}
void pack(const Lines&, std::int64_t, std::int64_t, std::int64_t, std::uint32_t*) {}
void multiply(const std::uint32_t*, const std::uint32_t*, std::int64_t, const Target&) {}

} // namespace muster::worker::bf16

#endif
