#include "model/state_shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace muster {

bool state_is_sharded(std::span<const double> shares) {
    return std::ranges::any_of(shares, [](double share) { return share != 1.0; });
}

Result<void> check_state_shares(std::span<const double> shares) {
    if (!state_is_sharded(shares)) {
        return {};
    }
    double sum = 0.0;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        if (!(shares[i] >= 0.0 && shares[i] <= 1.0)) { // not a number is neither
            return Error{ErrorCode::invalid_argument,
                         fmt::format("member {} is to keep {} of the optimizer's state, not 0 to 1", i, shares[i])};
        }
        sum += shares[i];
    }
    if (!(std::abs(sum - 1.0) <= state_share_tolerance)) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the members' parts of the optimizer's state add up to {}, not 1", sum)};
    }
    return {};
}

} // namespace muster
