/// Revocations: identities and certificates that are no longer let in, whatever their certificates say.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "port/store.h"
#include "tls/identity.h"

#include <string>
#include <vector>

namespace muster::auth {

/// Name of the store's records, kept in kind "revoked": "identity:<uri>" or "serial:<hex>".
struct Revocation {
    std::string subject; ///< as above
    std::string reason;
    std::string by;   ///< who revoked
    std::string time; ///< RFC 3339
};

/// Safe from any thread. Read from the store at each check, so that a revocation counts from the next request on and
/// survives a restart. Every function throws StoreDown.
class Revocations {
public:
    /// Both outlive this.
    Revocations(Store& store, const Clock& clock) : store_{&store}, clock_{&clock} {}

    /// Revokes every certificate of an identity (SAN URI). Repeats keep the first reason.
    /// Errors: invalid_argument, when `uri` names nobody.
    [[nodiscard]] Result<void>
    revoke_identity(const std::string& uri, const std::string& reason, const std::string& by);
    /// Revokes one certificate. Errors: invalid_argument, when `serial` is not hexadecimal.
    [[nodiscard]] Result<void>
    revoke_serial(const std::string& serial, const std::string& reason, const std::string& by);
    /// Takes a revocation back. Errors: not_found.
    [[nodiscard]] Result<void> restore(const std::string& subject);
    [[nodiscard]] std::vector<Revocation> list() const;
    /// `serial` may be empty when it is not known. Errors: permission_denied with reason and remedy, when revoked.
    [[nodiscard]] Result<void> check(const std::string& uri, const std::string& serial) const;

private:
    [[nodiscard]] Result<void> put(const std::string& subject, const std::string& reason, const std::string& by);

    Store* store_;
    const Clock* clock_;
};

} // namespace muster::auth
