/// Revocations: identities and certificates that are no longer let in, whatever their certificates say.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "port/store.h"
#include "tls/identity.h"

#include <string>
#include <vector>

namespace muster::auth {

/// One identity or certificate that is no longer let in.
struct Revocation {
    std::string subject; ///< "identity:<SAN>" or "serial:<hex>"; also the key of the store's record, kind "revoked"
    std::string reason;
    std::string by;   ///< who revoked
    std::string time; ///< RFC 3339

    /// The SAN that the subject names; empty for a serial number.
    [[nodiscard]] std::string identity() const;
};

/// What came of an order to revoke.
struct Revoked {
    Revocation standing; ///< what holds now: of two orders the first counts
    bool is_new{};
};

/// Safe from any thread. Read from the store at each check, so that a revocation counts from the next request on and
/// survives a restart. Every function throws StoreDown.
class Revocations {
public:
    /// Both outlive this.
    Revocations(Store& store, const Clock& clock) : store_{&store}, clock_{&clock} {}

    /// The one spelling of a subject: "identity:<SAN>" stands for every certificate of that identity, "serial:<hex>"
    /// for one certificate. Errors: invalid_argument, when it names nobody or is not hexadecimal.
    [[nodiscard]] static Result<std::string> subject_of(const std::string& text);

    /// Revokes a subject, durably. A repeat keeps the first reason.
    /// Errors: as subject_of; invalid_argument, when the reason is too long.
    [[nodiscard]] Result<Revoked> revoke(const std::string& subject, const std::string& reason, const std::string& by);
    /// Takes a revocation back. Errors: as subject_of; not_found.
    [[nodiscard]] Result<void> restore(const std::string& subject);
    /// Errors: as subject_of; not_found.
    [[nodiscard]] Result<Revocation> find(const std::string& subject) const;
    [[nodiscard]] std::vector<Revocation> list() const;
    /// `serial` may be empty when it is not known. Errors: permission_denied with reason and remedy, when revoked.
    [[nodiscard]] Result<void> check(const std::string& uri, const std::string& serial) const;

private:
    Store* store_;
    const Clock* clock_;
};

} // namespace muster::auth
