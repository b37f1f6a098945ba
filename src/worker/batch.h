/// BatchBuffer: rows of a matrix as tensors, gathered into memory that is reused from step to step.
#pragma once

#include "model/recipe.h"
#include "worker/matrix.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <span>

namespace muster::worker {

/// Inputs and targets of one batch, on the buffer's device. On the processor views into a BatchBuffer: valid until its
/// next gather().
struct Batch {
    at::Tensor rows;   ///< [n, columns] in the recipe's number type; of windows [n, length, columns]; of a text int64
                       ///< [n, sequence]
    at::Tensor target; ///< regression and one output: [n, 1] in the number type, standardised for regression;
                       ///< several classes: [n] int64; of a text int64 [n, sequence]
};

/// Gathers batches of at most `rows_max` rows. Of a text a row is a sample: the run of tokens that begins with the row
/// of that number; of windows the run of rows that ends with it. One thread at a time.
class BatchBuffer {
public:
    /// What it gathers goes to `device`.
    BatchBuffer(const Recipe& recipe,
                const Preprocessing& preprocessing,
                std::int64_t rows_max,
                c10::Device device = c10::DeviceType::CPU);

    /// Copies the rows with these numbers. Any count from 0 to rows_max.
    [[nodiscard]] Batch gather(const Matrix& matrix, std::span<const std::int64_t> numbers);
    /// Copies the inputs only, of a table.
    [[nodiscard]] at::Tensor gather_rows(const Matrix& matrix, std::span<const std::int64_t> numbers);

private:
    Batch gather_on_host(const Matrix& matrix, std::span<const std::int64_t> numbers);
    Batch gather_text(const Matrix& matrix, std::span<const std::int64_t> numbers);

    double mean_;
    double scale_;
    std::int64_t sequence_; ///< 0: rows of a table
    c10::Device device_;
    std::int64_t window_; ///< rows of the matrix that are one sample of a table
    at::Tensor rows_;
    at::Tensor target_;
};

} // namespace muster::worker
