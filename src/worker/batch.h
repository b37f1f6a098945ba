/// BatchBuffer: rows of a matrix as tensors, gathered into memory that is reused from step to step.
#pragma once

#include "model/recipe.h"
#include "worker/matrix.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace muster::worker {

/// Inputs and targets of one batch. Views into a BatchBuffer: valid until its next gather().
struct Batch {
    at::Tensor rows;   ///< [n, columns] in the recipe's number type
    at::Tensor target; ///< regression and one output: [n, 1] in the number type, standardised for regression;
                       ///< several classes: [n] int64
};

/// Gathers batches of at most `rows_max` rows. One thread at a time.
class BatchBuffer {
public:
    BatchBuffer(const Recipe& recipe, const Preprocessing& preprocessing, std::int64_t rows_max);

    /// Copies the rows with these numbers. Any count from 0 to rows_max.
    [[nodiscard]] Batch gather(const Matrix& matrix, std::span<const std::int64_t> numbers);
    /// Copies the inputs only.
    [[nodiscard]] at::Tensor gather_rows(const Matrix& matrix, std::span<const std::int64_t> numbers);

private:
    double mean_;
    double scale_;
    at::Tensor rows_;
    at::Tensor target_;
};

} // namespace muster::worker
