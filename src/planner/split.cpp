#include "planner/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace muster::planner {
namespace {

/// Rows that a function finishes within `seconds`.
std::int64_t rows_within(const Cost& cost, double seconds) {
    if (seconds < cost.fixed) {
        return 0;
    }
    if (cost.per_row <= 0.0) {
        return cost.cap;
    }
    const double rows = std::floor((seconds - cost.fixed) / cost.per_row);
    return rows >= static_cast<double>(cost.cap) ? cost.cap : static_cast<std::int64_t>(rows);
}

double time_of(const Cost& cost, std::int64_t rows) {
    return cost.fixed + cost.per_row * static_cast<double>(rows);
}

} // namespace

Result<std::vector<std::int64_t>> split(std::span<const Cost> costs, std::int64_t batch) {
    const std::int64_t room = std::accumulate(
        costs.begin(), costs.end(), std::int64_t{0}, [](std::int64_t sum, const Cost& cost) { return sum + cost.cap; });
    if (room < batch) {
        return Error{ErrorCode::unavailable,
                     fmt::format("memory allows {} rows in a step, the batch has {}", room, batch)};
    }
    double low = 0.0;
    double high = 0.0;
    for (const Cost& cost : costs) {
        high = std::max(high, time_of(cost, std::min(cost.cap, batch)));
    }
    const auto rows_at = [&](double seconds) {
        std::int64_t rows = 0;
        for (const Cost& cost : costs) {
            rows += rows_within(cost, seconds);
        }
        return rows;
    };
    high = high * (1.0 + 1e-9) + 1e-12; // the floor at exactly `high` may lose a row to rounding
    for (int i = 0; i < 100; ++i) {
        const double middle = 0.5 * (low + high);
        (rows_at(middle) >= batch ? high : low) = middle;
    }
    std::vector<std::int64_t> rows;
    for (const Cost& cost : costs) {
        rows.push_back(rows_within(cost, high));
    }
    // Rows that are too many come from where they take longest.
    for (std::int64_t excess = std::accumulate(rows.begin(), rows.end(), std::int64_t{0}) - batch; excess > 0;
         --excess) {
        std::size_t slowest = rows.size();
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (rows[i] > 0 &&
                (slowest == rows.size() || time_of(costs[i], rows[i]) > time_of(costs[slowest], rows[slowest]))) {
                slowest = i;
            }
        }
        --rows[slowest];
    }
    return rows;
}

} // namespace muster::planner
