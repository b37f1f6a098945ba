/// Checks a certificate that came as text, outside a handshake: evidence kept with an agreement.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <string_view>

namespace muster::tls {

/// Checks that the first certificate of `certificate_pem` chains to one of `trust_pem`, over the others it brings, and
/// that all are valid at `now`. Errors: invalid_argument, when there is none; unauthenticated, with OpenSSL's reason.
[[nodiscard]] Result<void> check_chain(std::string_view certificate_pem, std::string_view trust_pem, WallTime now);

} // namespace muster::tls
