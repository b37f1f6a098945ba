#include "plain_connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace muster::bench {
namespace {

using collective::IoResult;
using collective::IoStatus;

/// What the dialling rank says first: its rank and the number of the connection.
using Greeting = std::array<std::int32_t, 2>;

Error unavailable(const std::string& what) {
    return {ErrorCode::unavailable, what + ": " + std::system_category().message(errno)};
}

Result<UniqueFd> accept_one(int listener, Deadline deadline) {
    for (;;) {
        UniqueFd socket{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
        if (socket.valid()) {
            return socket;
        }
        pollfd entry{.fd = listener, .events = POLLIN, .revents = 0};
        if ((errno != EAGAIN && errno != EINTR) || ::poll(&entry, 1, deadline.left_ms()) == 0) {
            return unavailable("no peer came");
        }
    }
}

} // namespace

PlainConnection::PlainConnection(UniqueFd socket)
    : socket_{std::move(socket)}, last_received_{std::chrono::steady_clock::now()} {
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

IoResult PlainConnection::failed(IoStatus again) {
    if (errno == EAGAIN || errno == EINTR) {
        return {again, 0};
    }
    reason_ = std::system_category().message(errno);
    return {IoStatus::cut, 0};
}

IoResult PlainConnection::read(std::span<std::byte> buffer) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
        return failed(IoStatus::want_read);
    }
    if (got == 0) {
        reason_ = "the peer has closed the connection";
        return {IoStatus::closed, 0};
    }
    counters_.received.fetch_add(got, std::memory_order_relaxed);
    last_received_ = std::chrono::steady_clock::now();
    return {IoStatus::done, static_cast<std::size_t>(got)};
}

IoResult PlainConnection::write(std::span<const std::byte> data) {
    const ssize_t sent = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0) {
        return failed(IoStatus::want_write);
    }
    counters_.sent.fetch_add(sent, std::memory_order_relaxed);
    return {IoStatus::done, static_cast<std::size_t>(sent)};
}

void PlainConnection::finish() {
    ::shutdown(socket_.get(), SHUT_WR);
}

void PlainConnection::shut_down() const {
    ::shutdown(socket_.get(), SHUT_RDWR);
}

Result<collective::Edges>
join_plain(const collective::GroupSpec& spec, int listener, collective::Dialer& dialer, Deadline deadline) {
    const auto stripes = static_cast<std::size_t>(spec.stripes);
    const auto own = static_cast<std::size_t>(spec.rank);
    collective::Edges edges(spec.members.size());
    for (auto& edge : edges) {
        edge.resize(&edge == &edges[own] ? 0 : stripes);
    }
    for (std::size_t peer = own + 1; peer < spec.members.size(); ++peer) {
        for (std::size_t stripe = 0; stripe < stripes; ++stripe) {
            auto socket = dialer.dial(spec.members[peer].addresses.front(), deadline);
            if (!socket) {
                return std::move(socket).error();
            }
            const Greeting greeting{spec.rank, static_cast<std::int32_t>(stripe)};
            if (::send(socket->get(), &greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting) {
                return unavailable("greet a peer");
            }
            edges[peer][stripe] = std::make_unique<PlainConnection>(std::move(*socket));
        }
    }
    for (std::size_t missing = own * stripes; missing > 0; --missing) {
        auto socket = accept_one(listener, deadline);
        if (!socket) {
            return std::move(socket).error();
        }
        Greeting greeting{};
        if (::recv(socket->get(), &greeting, sizeof greeting, MSG_WAITALL) != sizeof greeting) {
            return unavailable("hear a peer's greeting");
        }
        const auto [peer, stripe] = greeting;
        edges.at(static_cast<std::size_t>(peer)).at(static_cast<std::size_t>(stripe)) =
            std::make_unique<PlainConnection>(std::move(*socket));
    }
    return edges;
}

} // namespace muster::bench
