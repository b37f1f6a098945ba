/// "host:port" texts and socket addresses.
#pragma once

#include "base/result.h"

#include <string>

namespace muster::collective {

struct AddressParts {
    std::string host; ///< without the brackets of an IPv6 address
    std::string port;
};

/// Splits "host:port" or "[v6]:port". Errors: invalid_argument.
[[nodiscard]] Result<AddressParts> split_address(const std::string& address);

/// Returns the other end of a connected socket as "host:port", or "unknown address".
[[nodiscard]] std::string peer_address(int socket);

} // namespace muster::collective
