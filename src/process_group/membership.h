/// Membership: what a rank of a job must know to meet the others.
#pragma once

#include "tls/context.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster::process_group {

/// Rank r must show a certificate with the SAN `identities[r]`; several ranks may share one (one for each machine).
struct Membership {
    std::string job{};
    std::int64_t generation{}; ///< of the job; a process that was left over from an earlier one is refused
    int rank{};
    std::vector<std::string> identities{};
    tls::Credentials credentials{}; ///< this rank's; trust = the job's CA

    [[nodiscard]] int size() const { return static_cast<int>(identities.size()); }
    /// "rank 2 (muster://job/demo/rank-2)", for people.
    [[nodiscard]] std::string name_of(int of_rank) const;
};

} // namespace muster::process_group
