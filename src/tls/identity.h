/// Identities: who a certificate speaks for, read from its subject alternative name (SAN).
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace muster::tls {

/// What kind of party a SAN URI of ours names.
enum class Role { producer, function, consumer, job, other };

/// The verified identity of a peer. Forms of the SAN URI (DNs are percent-encoded):
///   muster://producer/<dn>   muster://function/<dn>   muster://consumer/<name>   muster://job/<job>/<dn>
/// A certificate of an operator's own CA may carry any SAN: role `other`, `uri` as found ("DNS:host"
/// for a DNS name); a local policy maps it (auth/policy.h).
struct Identity {
    Role role{Role::other};
    std::string name{}; ///< the DN or consumer name, decoded; the DN for a job
    std::string job{};  ///< job id, for Role::job
    std::string uri{};  ///< the SAN itself

    bool operator==(const Identity&) const = default;
};

[[nodiscard]] std::string producer_uri(std::string_view dn);
[[nodiscard]] std::string function_uri(std::string_view dn);
[[nodiscard]] std::string consumer_uri(std::string_view name);
[[nodiscard]] std::string job_uri(std::string_view job, std::string_view dn);
/// Parses a SAN. For one of ours `uri` is the canonical spelling (upper-case escapes, only where needed), so that equal
/// identities have equal uris; what is not of ours becomes Role::other with uri = san.
[[nodiscard]] Identity parse_identity(std::string_view san);

} // namespace muster::tls
