/// The rule for shares of an optimizer's state, which plans, agreements, rosters and trainings all keep to.
#pragma once

#include "base/result.h"

#include <span>
#include <vector>

namespace muster {

/// The sum of shares may miss 1 by so much: they are read from text.
constexpr double state_share_tolerance = 1e-9;

/// Says whether the members keep parts of the optimizer's state, or each keeps all of it (a share of 1).
[[nodiscard]] bool state_is_sharded(std::span<const double> shares);

/// Checks the members' shares of the optimizer's state: 1 for each, when every member keeps all of it; else 0 to 1, and
/// together 1. Errors: invalid_argument, with the number that cannot be meant.
[[nodiscard]] Result<void> check_state_shares(std::span<const double> shares);

/// The shares of members that have one each, in their order.
template <typename Members>
[[nodiscard]] std::vector<double> state_shares_of(const Members& members) {
    std::vector<double> shares;
    for (const auto& member : members) {
        shares.push_back(member.state_share);
    }
    return shares;
}

} // namespace muster
