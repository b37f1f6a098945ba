#include "model/state_shares.h"

#include <cmath>
#include <string>

namespace muster {

Result<void> check_state_shares(std::span<const double> shares, std::size_t members) {
    if (shares.empty()) {
        return {};
    }
    if (shares.size() != members) {
        return Error{ErrorCode::invalid_argument,
                     std::to_string(shares.size()) + " shares of the optimizer's state for " + std::to_string(members) +
                         " members"};
    }
    double sum = 0.0;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        if (!(shares[i] >= 0.0 && shares[i] <= 1.0)) {
            return Error{ErrorCode::invalid_argument,
                         "the share of the optimizer's state of member " + std::to_string(i) + " is " +
                             std::to_string(shares[i]) + ", not 0 to 1"};
        }
        sum += shares[i];
    }
    if (std::abs(sum - 1.0) > state_share_tolerance) {
        return Error{ErrorCode::invalid_argument,
                     "the shares of the optimizer's state add up to " + std::to_string(sum) + ", not 1"};
    }
    return {};
}

} // namespace muster
