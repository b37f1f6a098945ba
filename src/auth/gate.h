/// Gate: from a verified peer to a Principal, and from a Principal to a permission.
#pragma once

#include "auth/policy.h"
#include "auth/revocation.h"

#include <string>
#include <utility>

namespace muster::auth {

/// What every channel asks before it does anything for a peer. Safe from any thread.
class Gate {
public:
    /// `revocations` outlives this.
    Gate(Policy policy, const Revocations& revocations) : policy_{std::move(policy)}, revocations_{&revocations} {}

    /// `verified` is tls::peer_identity's answer, `serial` tls::peer_serial's (it may be empty).
    /// Errors: permission_denied for a job certificate or a revoked one; unauthenticated. Throws StoreDown.
    [[nodiscard]] Result<Principal> admit(const tls::Identity& verified, const std::string& serial) const;

    /// As Policy::authorise.
    [[nodiscard]] Result<void>
    authorise(const Principal& caller, Operation operation, const std::optional<nrm::Dn>& object) const {
        return policy_.authorise(caller, operation, object);
    }
    /// As Policy::authorise_priority.
    [[nodiscard]] Result<void>
    authorise_priority(const Principal& caller, const nrm::Dn& object, std::int64_t priority) const {
        return policy_.authorise_priority(caller, object, priority);
    }

private:
    Policy policy_;
    const Revocations* revocations_;
};

} // namespace muster::auth
