/// The rule for shares of an optimizer's state, which plans, agreements, rosters and trainings all keep to.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <span>

namespace muster {

/// Shares may miss 1 by so much: they are read from text.
constexpr double state_share_tolerance = 1e-9;

/// Checks the shares of the optimizer's state of `members` members: none, when every member keeps all of it; else one
/// for each, 0 to 1, which add up to 1. Errors: invalid_argument.
[[nodiscard]] Result<void> check_state_shares(std::span<const double> shares, std::size_t members);

} // namespace muster
