/// Which rows of a job's data are trained on, validated on and tested on.
#pragma once

#include "model/recipe.h"
#include "worker/matrix.h"
#include "worker/ranks.h"
#include "worker/sampler.h"

#include <cstdint>
#include <vector>

namespace muster::worker {

/// Rows kept for training and for validation under a recipe; of a text samples, of windows the rows that end one.
struct RowCounts {
    std::int64_t training{};
    std::int64_t validation{};
};
[[nodiscard]] RowCounts row_counts(const Recipe& recipe, const Matrix& matrix);

/// Returns the rows that are trained on, ascending; of windows those that end one. The data is here.
[[nodiscard]] std::vector<std::int64_t> training_rows_of(const Recipe& recipe, const Matrix& matrix);

/// Row numbers by what they are for.
struct UsedRows {
    RowSplit split;
    std::vector<std::int64_t> test;
};

/// Returns the rows of a training. With `told` a member that does not hold the data learns from the first one how many
/// rows there are, which is all it needs: its numbers stand for none. Then all ranks call it, and it throws what the
/// group throws.
[[nodiscard]] UsedRows used_rows(const Recipe& recipe, const MatrixSet& matrices, Ranks& ranks, bool told);

} // namespace muster::worker
