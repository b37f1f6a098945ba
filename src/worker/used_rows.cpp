#include "worker/used_rows.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <numeric>

namespace muster::worker {
namespace {

RowSplit split_table(const Recipe& recipe, std::int64_t rows) {
    return recipe.data.validation_rows == ValidationKind::end ? split_end(rows, recipe.data.validation)
                                                              : split_rows(rows, recipe.data.validation, recipe.seed);
}

RowSplit split_of(const Recipe& recipe, const Matrix& matrix) {
    if (recipe.data.text) {
        return split_text(matrix.rows, recipe.data.text->sequence, recipe.data.validation);
    }
    return recipe.data.windows ? split_windows(matrix.target.values(), window_rows(recipe), recipe.data.validation)
                               : split_table(recipe, matrix.rows);
}

std::vector<std::int64_t> test_rows_of(const Recipe& recipe, const Matrix& test) {
    if (recipe.data.text) {
        return text_samples(test.rows, recipe.data.text->sequence);
    }
    if (recipe.data.windows) {
        return split_windows(test.target.values(), window_rows(recipe), 0.0).training;
    }
    std::vector<std::int64_t> all(static_cast<std::size_t>(test.rows));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

} // namespace

RowCounts row_counts(const Recipe& recipe, const Matrix& matrix) {
    const RowSplit split = split_of(recipe, matrix);
    return {.training = std::ssize(split.training), .validation = std::ssize(split.validation)};
}

std::vector<std::int64_t> training_rows_of(const Recipe& recipe, const Matrix& matrix) {
    return split_of(recipe, matrix).training;
}

UsedRows used_rows(const Recipe& recipe, const MatrixSet& matrices, Ranks& ranks, bool told) {
    UsedRows used;
    if (matrices.train.held) {
        used = {split_of(recipe, matrices.train), test_rows_of(recipe, matrices.test)};
    }
    if (!told) {
        return used;
    }
    const auto count = [&](const std::vector<std::int64_t>& rows) { return ranks.rank() == 0 ? std::ssize(rows) : 0; };
    at::Tensor counts =
        at::tensor({count(used.split.training), count(used.split.validation), count(used.test)}, at::kLong);
    ranks.sum(counts);
    if (!matrices.train.held) {
        const auto rows = [&](std::int64_t which, const Matrix& matrix) {
            const auto said = counts[which].item<std::int64_t>();
            TORCH_CHECK(
                said >= 0 && said <= matrix.rows, "rank 0 says that it uses ", said, " of ", matrix.rows, " rows");
            return std::vector<std::int64_t>(static_cast<std::size_t>(said), 0);
        };
        used = {{rows(0, matrices.train), rows(1, matrices.train)}, rows(2, matrices.test)};
    }
    return used;
}

} // namespace muster::worker
