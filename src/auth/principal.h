/// Principal: somebody whom the policy knows. Holding one is the proof that a certificate was verified.
#pragma once

#include "tls/identity.h"

#include <string>
#include <utility>

namespace muster::auth {

/// An authenticated caller, made by Gate alone. A value; copies stay valid whatever happens to the connection.
class Principal {
public:
    /// Who it is by the policy: a foreign SAN that `identities` maps has the mapped role and name here.
    [[nodiscard]] const tls::Identity& identity() const { return identity_; }
    /// The identity's URI, for the audit log and for agreements, e.g. "muster://consumer/oss".
    [[nodiscard]] const std::string& name() const { return identity_.uri; }
    /// The SAN that the certificate really carries; differs from name() for a mapped one.
    [[nodiscard]] const std::string& certificate_san() const { return certificate_san_; }
    [[nodiscard]] tls::Role role() const { return identity_.role; }

private:
    friend class Policy;
    Principal(tls::Identity identity, std::string certificate_san)
        : identity_{std::move(identity)}, certificate_san_{std::move(certificate_san)} {}

    tls::Identity identity_;
    std::string certificate_san_;
};

} // namespace muster::auth
