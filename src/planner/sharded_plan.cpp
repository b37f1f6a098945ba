#include "planner/sharded_plan.h"

#include "base/assert.h"
#include "planner/cost.h"
#include "planner/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace muster::planner {
namespace {

constexpr std::int64_t mega = 1'000'000;

/// Rows by speed, as memory allows without any state.
Result<std::vector<std::int64_t>> rows_of(const Question& question, const Subset& members) {
    std::vector<Cost> costs;
    for (const std::size_t index : members) {
        const Candidate& function = question.candidates[index];
        const auto line = function.calibration.fit();
        costs.push_back(
            {line.fixed + link_seconds(function, members.size()), line.per_row, batch_cap(question, function, 0.0)});
    }
    return split(costs, question.batch);
}

/// What is left of each member's memory for the state; negative, where not even its rows fit. A member without a known
/// limit has room for all of it.
std::vector<std::int64_t>
free_bytes_of(const Question& question, const Subset& members, const std::vector<std::int64_t>& rows) {
    std::vector<std::int64_t> free;
    for (std::size_t i = 0; i < members.size(); ++i) {
        const Candidate& function = question.candidates[members[i]];
        free.push_back(function.memory_bytes <= 0
                           ? state_bytes(question, function)
                           : function.memory_bytes - memory_bytes(question, function, rows[i], 0.0));
    }
    return free;
}

std::int64_t whole_state(const Question& question, const Subset& members) {
    std::int64_t bytes = 0;
    for (const std::size_t index : members) {
        bytes = std::max(bytes, state_bytes(question, question.candidates[index]));
    }
    return bytes;
}

std::optional<PlanCandidate> sharded_over(const Question& question, const Subset& members) {
    const auto rows = rows_of(question, members);
    if (!rows) {
        return std::nullopt;
    }
    const auto free = free_bytes_of(question, members, *rows);
    const std::int64_t state = whole_state(question, members);
    if (std::ranges::min(free) < 0 || std::accumulate(free.begin(), free.end(), std::int64_t{0}) < state) {
        return std::nullopt;
    }
    return priced(question, members, *rows, "data, sharded state", state_shares(free, state));
}

/// Why not even all functions together do.
Error too_small(const Question& question) {
    Subset able; // the others have no room for the model itself
    for (const std::size_t index : holders_of(question)) {
        if (batch_cap(question, question.candidates[index], 0.0) > 0) {
            able.push_back(index);
        }
    }
    if (able.empty()) {
        return {ErrorCode::unavailable, "not even one row fits any function without that state"};
    }
    const auto rows = rows_of(question, able);
    if (!rows) {
        return {ErrorCode::unavailable, "even without that state " + rows.error().message};
    }
    const auto free = free_bytes_of(question, able, *rows);
    const std::int64_t room = std::accumulate(free.begin(), free.end(), std::int64_t{0});
    const std::int64_t state = whole_state(question, able);
    return {ErrorCode::unavailable,
            fmt::format("of {} MB {} functions together have room for {} MB, {} MB are missing",
                        state / mega,
                        able.size(),
                        room / mega,
                        (state - room + mega - 1) / mega)};
}

} // namespace

std::vector<double> state_shares(std::span<const std::int64_t> free_bytes, std::int64_t state_bytes) {
    const std::int64_t room = std::accumulate(free_bytes.begin(), free_bytes.end(), std::int64_t{0});
    MUSTER_ASSERT(!free_bytes.empty() && std::ranges::min(free_bytes) >= 0 && room >= state_bytes);
    std::vector<double> shares;
    for (const std::int64_t free : free_bytes) {
        shares.push_back(room > 0 ? static_cast<double>(free) / static_cast<double>(room)
                                  : 1.0 / static_cast<double>(free_bytes.size()));
    }
    return shares;
}

Result<PlanCandidate> best_sharded(const Question& question) {
    if (holders_of(question).size() < 2) {
        return Error{ErrorCode::invalid_argument,
                     "optimizer state is sharded over several functions that hold the data"};
    }
    std::optional<PlanCandidate> best;
    for (const Subset& subset : subsets_of(question)) {
        // A member without rows may still lend its memory.
        auto sharded = sharded_over(question, subset);
        if (sharded && (!best || sharded->total_seconds < best->total_seconds)) {
            best = std::move(sharded);
        }
    }
    if (!best) {
        return too_small(question);
    }
    return *std::move(best);
}

} // namespace muster::planner
