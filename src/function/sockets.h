/// TCP sockets of the data plane as the agent opens them for its workers.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <string>

namespace muster::function {

/// A listening TCP socket on `host` (an address of this machine) and the port it got.
struct ListeningSocket {
    UniqueFd fd;
    std::uint16_t port{};
};

/// Opens a listening socket on a free port of [port_low, port_high]; 0, 0: any. Errors: unavailable.
[[nodiscard]] Result<ListeningSocket>
listen_on(const std::string& host, std::uint16_t port_low, std::uint16_t port_high);

/// Connects to "host:port" or "[v6]:port". Errors: invalid_argument; unavailable; deadline_exceeded.
[[nodiscard]] Result<UniqueFd> connect_to(const std::string& address, Deadline deadline);

} // namespace muster::function
