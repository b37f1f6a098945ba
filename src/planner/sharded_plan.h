/// Data parallelism with the optimizer's state cut over the members: rows by speed, state by free memory.
/// Source: reference algorithms 1.6 (after Cephalo, ICS 2025).
#pragma once

#include "planner/planner.h"

#include <cstdint>
#include <span>
#include <vector>

namespace muster::planner {

/// Shares of a state of `state_bytes` in proportion to what is free at each member, none of it negative: all members
/// are filled to the same part of what they have. They add up to 1. Equal ones, when nothing is free and nothing
/// needed. REQUIRES: at least one member; together they have room for the state.
[[nodiscard]] std::vector<double> state_shares(std::span<const std::int64_t> free_bytes, std::int64_t state_bytes);

/// The fastest way of several functions whose memory together holds rows and state.
/// Errors: invalid_argument, for fewer than two functions that hold the data; unavailable, when all functions together
/// are too small, with the missing amount.
[[nodiscard]] Result<PlanCandidate> best_sharded(const Question& question);

} // namespace muster::planner
