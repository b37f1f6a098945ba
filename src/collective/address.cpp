#include "collective/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace muster::collective {

Result<AddressParts> split_address(const std::string& address) {
    const auto refusal = [&address] {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("'{}' is not an address", address),
                     "",
                     {"host:port", "[v6]:port"}};
    };
    const auto colon = address.rfind(':');
    if (colon == std::string::npos || colon == 0) {
        return refusal();
    }
    AddressParts parts{address.substr(0, colon), address.substr(colon + 1)};
    const bool bracketed = parts.host.front() == '[' && parts.host.back() == ']' && parts.host.size() > 2;
    if (bracketed) {
        parts.host = parts.host.substr(1, parts.host.size() - 2);
    }
    const bool digits = std::ranges::all_of(parts.port, [](unsigned char c) { return std::isdigit(c) != 0; });
    if (parts.port.empty() || parts.port.size() > 5 || !digits ||
        (!bracketed && parts.host.find(':') != std::string::npos)) {
        return refusal();
    }
    return parts;
}

std::string peer_address(int socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &size) == 0) {
        if (storage.ss_family == AF_INET) {
            const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
            ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
            return fmt::format("{}:{}", text.data(), ntohs(v4.sin_port));
        }
        if (storage.ss_family == AF_INET6) {
            const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
            ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
            return fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port));
        }
    }
    return "unknown address";
}

} // namespace muster::collective
