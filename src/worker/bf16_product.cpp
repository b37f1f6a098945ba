#include "worker/bf16_product.h"

#include "base/assert.h"
#include "worker/bf16_kernel.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

namespace muster::worker {
namespace {

using bf16::tile_columns;
using bf16::tile_rows;

// A panel of the right side (32 KB) stays in the first cache while those of the left (120 KB) pass by from the second.
constexpr std::int64_t depth_max = 512;
constexpr std::int64_t rows_max = 10 * tile_rows;
constexpr std::int64_t columns_max = 2048; ///< of the right side that are packed at once, 2 MB

constexpr std::int64_t parts(std::int64_t whole, std::int64_t part) {
    return (whole + part - 1) / part;
}

/// A side of the product as fp32 numbers one of whose strides is 1.
at::Tensor packable(const at::Tensor& side) {
    MUSTER_ASSERT(side.dim() == 2 && side.scalar_type() == at::kFloat);
    return side.stride(0) == 1 || side.stride(1) == 1 ? side : side.contiguous();
}

at::Tensor words(std::int64_t count) {
    return at::empty({count}, at::kInt);
}

std::uint32_t* first_word(const at::Tensor& words) {
    return reinterpret_cast<std::uint32_t*>(words.mutable_data_ptr<std::int32_t>());
}

/// One product under way.
class Product {
public:
    Product(const at::Tensor& left, const at::Tensor& right, const at::Tensor& bias, const at::Tensor& sum, bool add)
        : left_{packable(left)}, right_{packable(right)}, bias_{bias}, sum_{sum}, add_{add}, rows_{left.size(0)},
          columns_{right.size(1)}, depth_{left.size(1)} {}

    void run() {
        // Equal parts, each of whole registers: what the rows and columns are does not change them.
        constexpr std::int64_t register_depth = 32;
        const std::int64_t depth_step = parts(parts(depth_, parts(depth_, depth_max)), register_depth) * register_depth;
        for (std::int64_t column = 0; column < columns_; column += columns_max) {
            const std::int64_t columns = std::min(columns_max, columns_ - column);
            const at::Tensor packed = words(parts(columns, tile_columns) * tile_columns * (depth_step / 2));
            for (std::int64_t at = 0; at < depth_; at += depth_step) {
                const Block block{column, columns, at, std::min(depth_step, depth_ - at)};
                pack_right(block, first_word(packed));
                multiply(block, first_word(packed));
            }
        }
    }

private:
    /// A part of the right side.
    struct Block {
        std::int64_t column;
        std::int64_t columns;
        std::int64_t at; ///< of the depth
        std::int64_t depth;

        [[nodiscard]] std::int64_t pairs() const { return (depth + 1) / 2; }
    };

    void pack_right(const Block& block, std::uint32_t* packed) const {
        const auto* const first = right_.const_data_ptr<float>() + block.at * right_.stride(0);
        at::parallel_for(0, parts(block.columns, tile_columns), 1, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t panel = begin; panel < end; ++panel) {
                const std::int64_t column = panel * tile_columns;
                bf16::pack({first + (block.column + column) * right_.stride(1), right_.stride(1), right_.stride(0)},
                           std::min(tile_columns, block.columns - column),
                           block.depth,
                           tile_columns,
                           packed + column * block.pairs());
            }
        });
    }

    /// Each thread takes tiles of rows of its own, as many as fit the cache at a time.
    void multiply(const Block& block, const std::uint32_t* right) const {
        at::parallel_for(0, parts(rows_, tile_rows), 1, [&](std::int64_t begin, std::int64_t end) {
            const at::Tensor packed = words(rows_max * block.pairs());
            for (std::int64_t row = begin * tile_rows; row < std::min(end * tile_rows, rows_); row += rows_max) {
                const std::int64_t rows = std::min({rows_max, end * tile_rows - row, rows_ - row});
                pack_left(block, row, rows, first_word(packed));
                multiply_rows(block, row, rows, first_word(packed), right);
            }
        });
    }

    void pack_left(const Block& block, std::int64_t row, std::int64_t rows, std::uint32_t* packed) const {
        const auto* const first = left_.const_data_ptr<float>() + block.at * left_.stride(1);
        for (std::int64_t done = 0; done < rows; done += tile_rows) {
            bf16::pack({first + (row + done) * left_.stride(0), left_.stride(0), left_.stride(1)},
                       std::min(tile_rows, rows - done),
                       block.depth,
                       tile_rows,
                       packed + done * block.pairs());
        }
    }

    void multiply_rows(const Block& block,
                       std::int64_t row,
                       std::int64_t rows,
                       const std::uint32_t* left,
                       const std::uint32_t* right) const {
        const bool begins = block.at == 0;
        const float* const bias = begins && bias_.defined() ? bias_.const_data_ptr<float>() : nullptr;
        auto* const sum = sum_.mutable_data_ptr<float>() + row * columns_ + block.column;
        for (std::int64_t column = 0; column < block.columns; column += tile_columns) {
            for (std::int64_t done = 0; done < rows; done += tile_rows) {
                bf16::multiply(left + done * block.pairs(),
                               right + column * block.pairs(),
                               block.pairs(),
                               {.first = sum + done * columns_ + column,
                                .row_stride = columns_,
                                .rows = std::min(tile_rows, rows - done),
                                .columns = std::min(tile_columns, block.columns - column),
                                .bias = bias == nullptr ? nullptr : bias + block.column + column,
                                .add = add_ || !begins});
            }
        }
    }

    at::Tensor left_;
    at::Tensor right_;
    const at::Tensor& bias_;
    const at::Tensor& sum_;
    bool add_;
    std::int64_t rows_;
    std::int64_t columns_;
    std::int64_t depth_;
};

bool is_empty(const at::Tensor& left, const at::Tensor& right) {
    return left.numel() == 0 || right.numel() == 0;
}

} // namespace

at::Tensor bf16_product(const at::Tensor& left, const at::Tensor& right, const at::Tensor& bias) {
    MUSTER_ASSERT(left.size(1) == right.size(0));
    if (is_empty(left, right)) {
        const at::Tensor zeros = at::mm(left, right);
        return bias.defined() ? zeros + bias : zeros;
    }
    const at::Tensor sum = at::empty({left.size(0), right.size(1)}, at::kFloat);
    Product{left, right, bias, sum, false}.run();
    return sum;
}

void add_bf16_product(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right) {
    MUSTER_ASSERT(left.size(1) == right.size(0) && sum.is_contiguous());
    if (!is_empty(left, right)) {
        Product{left, right, {}, sum, true}.run();
    }
}

} // namespace muster::worker
