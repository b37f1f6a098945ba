/// Exact quantiles of the residuals in each leaf, over the rows of all ranks. No torch.
#pragma once

#include "collective/group.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::worker {

/// Returns the quantile of `values` (at least one), between its neighbours by linear interpolation, as LightGBM does.
[[nodiscard]] double quantile_of(std::vector<double> values, double quantile);

/// Returns for each leaf the quantile of the values of its rows on all ranks, the same bits on every rank and however
/// rows are divided: 0 for a leaf without rows. Finds order statistics digit by digit: nine small all-reduces.
/// LightGBM's own way, the mean over ranks of each rank's quantile, is another number when ranks differ.
///   group   null: alone
///   values  [rows], finite
///   leaves  [rows], the leaf of each row, or -1 for a row that does not count
/// Throws what the group throws.
[[nodiscard]] std::vector<double> leaf_quantiles(collective::Group* group,
                                                 std::span<const double> values,
                                                 std::span<const int> leaves,
                                                 int leaf_count,
                                                 double quantile);

} // namespace muster::worker
