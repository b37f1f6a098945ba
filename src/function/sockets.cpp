#include "function/sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <system_error>

namespace muster::function {
namespace {

constexpr int backlog = 64;

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

std::string reason(int code) {
    return std::system_category().message(code);
}

Result<Addresses> resolve(const std::string& host, const std::string& port, int flags) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0) {
        return Error{ErrorCode::unavailable, fmt::format("{}: {}", host, ::gai_strerror(code))};
    }
    return Addresses{found, &::freeaddrinfo};
}

Result<ListeningSocket> try_port(const std::string& host, std::uint16_t port) {
    auto addresses = resolve(host, std::to_string(port), AI_PASSIVE);
    if (!addresses) {
        return std::move(addresses).error();
    }
    const addrinfo& address = **addresses;
    UniqueFd fd{::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!fd.valid() || ::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) {
        return Error{ErrorCode::unavailable, fmt::format("cannot listen on {}:{}: {}", host, port, reason(errno))};
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    const std::uint16_t got = bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                                                          : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port;
    return ListeningSocket{std::move(fd), ntohs(got)};
}

Result<void> wait_connected(int fd, const std::string& address, const Deadline& deadline) {
    for (;;) {
        pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return Error{ErrorCode::deadline_exceeded, fmt::format("{} does not answer", address)};
        }
        int code = 0;
        socklen_t size = sizeof code;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
        if (code != 0) {
            return Error{ErrorCode::unavailable, fmt::format("cannot connect to {}: {}", address, reason(code))};
        }
        return {};
    }
}

} // namespace

Result<ListeningSocket> listen_on(const std::string& host, std::uint16_t port_low, std::uint16_t port_high) {
    Result<ListeningSocket> last =
        Error{ErrorCode::invalid_argument, fmt::format("no port from {} to {}", port_low, port_high)};
    for (std::uint32_t port = port_low; port <= port_high; ++port) {
        last = try_port(host, static_cast<std::uint16_t>(port));
        if (last) {
            return last;
        }
    }
    return last;
}

Result<UniqueFd> connect_to(const std::string& address, Deadline deadline) {
    const auto colon = address.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
        return Error{ErrorCode::invalid_argument, fmt::format("\"{}\" is not host:port", address)};
    }
    std::string host = address.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    auto addresses = resolve(host, address.substr(colon + 1), 0);
    if (!addresses) {
        return std::move(addresses).error();
    }
    Error last{ErrorCode::unavailable, fmt::format("{} has no address", address)};
    for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) {
        UniqueFd fd{::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        if (!fd.valid()) {
            continue;
        }
        if (::connect(fd.get(), at->ai_addr, at->ai_addrlen) != 0 && errno != EINPROGRESS) {
            last = Error{ErrorCode::unavailable, fmt::format("cannot connect to {}: {}", address, reason(errno))};
            continue;
        }
        if (auto connected = wait_connected(fd.get(), address, deadline); !connected) {
            last = std::move(connected).error();
            continue;
        }
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    return last;
}

} // namespace muster::function
