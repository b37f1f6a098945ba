/// Enrolment: how a training function gets its first certificate, and the next ones.
#pragma once

#include "auth/revocation.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "port/store.h"
#include "tls/identity.h"
#include "tls/keys.h"

#include <chrono>
#include <cstddef>
#include <string>

namespace muster::auth {

struct EnrolmentSettings {
    std::chrono::seconds certificate_lifetime{std::chrono::hours{24 * 30}}; ///< of functions
    std::chrono::seconds token_lifetime_max{std::chrono::hours{24 * 7}};
    std::chrono::seconds token_kept{std::chrono::hours{24 * 7}}; ///< after its end, to tell "expired" from "unknown"
    std::size_t tokens_max{10'000};                              ///< kept at one time, used and expired ones included
};

/// A new token: shown once to the admin, never stored.
struct NewToken {
    Secret token;
    std::string dn;
    WallTime expires;
};

/// A new certificate.
struct Enrolled {
    std::string certificate; ///< PEM, leaf then root
    std::string authority;   ///< PEM of the root: what the function trusts from now on
};

/// Enrols functions. Safe from any thread. Every function throws StoreDown.
class Enrolment {
public:
    /// All references outlive this.
    Enrolment(Store& store,
              const tls::Authority& authority,
              const Revocations& revocations,
              const Clock& clock,
              EnrolmentSettings settings = {})
        : store_{&store}, authority_{&authority}, revocations_{&revocations}, clock_{&clock}, settings_{settings} {}

    /// Makes a token of 32 random bytes for the function `dn`; only its SHA-256 is stored. `by` is the admin.
    /// Errors: invalid_argument (no DN of an MLTrainingFunction, lifetime not in (0, token_lifetime_max]);
    /// permission_denied (that function is revoked); resource_exhausted (tokens_max).
    [[nodiscard]] Result<NewToken>
    create_token(const std::string& dn, std::chrono::seconds lifetime, const std::string& by);

    /// Uses a token up and signs the request's key as the function `dn`; whatever names the request holds are ignored.
    /// The same token with the same request gives the same certificate again, since an answer may be lost.
    /// Errors: unauthenticated (unknown token); conflict (used for another key); permission_denied (expired, made for
    /// another DN, function revoked); invalid_argument (bad request: the token stays unused).
    [[nodiscard]] Result<Enrolled> enrol(const std::string& token, const std::string& dn, const std::string& csr);

    /// Signs a new certificate for a function that shows a valid one of ours; keys may change.
    /// Errors: permission_denied (no function, or revoked); invalid_argument (bad request).
    [[nodiscard]] Result<Enrolled>
    renew(const tls::Identity& verified, const std::string& serial, const std::string& csr);

private:
    [[nodiscard]] Result<Enrolled> certify(const std::string& uri, const std::string& csr) const;
    /// Removes what ended longer than token_kept ago; says how many tokens are left.
    [[nodiscard]] std::size_t sweep();

    Store* store_;
    const tls::Authority* authority_;
    const Revocations* revocations_;
    const Clock* clock_;
    EnrolmentSettings settings_;
};

} // namespace muster::auth
