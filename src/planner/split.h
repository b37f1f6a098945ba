/// The exact split of a batch over functions of unequal speed and memory. Source: reference algorithms 1.3.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::planner {

/// One function's cost of b rows in a step: fixed + per_row * b seconds, for 0 <= b <= cap.
struct Cost {
    double fixed{};
    double per_row{};
    std::int64_t cap{};
};

/// Returns b_i with sum = `batch` that minimises the slowest function's time max(fixed_i + per_row_i * b_i).
/// Errors: unavailable, when the caps together are below `batch`.
[[nodiscard]] Result<std::vector<std::int64_t>> split(std::span<const Cost> costs, std::int64_t batch);

} // namespace muster::planner
