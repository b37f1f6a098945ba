/// The plan for rows that stay at the functions that own them (layout "pinned").
/// Source: reference algorithms 2.2 (weights of pinned data).
#pragma once

#include "planner/planner.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::planner {

/// Deals `batch` rows out in proportion to `rows`, whose sum is above 0, by largest remainder.
[[nodiscard]] std::vector<std::int64_t> in_proportion(std::span<const std::int64_t> rows, std::int64_t batch);

/// The one way: every candidate takes part with as much of each batch as it owns of the rows, so that each row has the
/// same weight; the slowest sets the pace. Errors: unavailable, when that does not fit a function's memory, naming both
/// amounts, or one has fewer rows than an epoch has batches.
[[nodiscard]] Result<Plan> decide_on_pinned_rows(const Question& question);

} // namespace muster::planner
