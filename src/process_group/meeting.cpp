#include "process_group/meeting.h"

#include "base/digest.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace muster::process_group {
namespace {

constexpr int backlog = 128;

struct AddressList {
    ~AddressList() {
        if (first != nullptr) {
            ::freeaddrinfo(first);
        }
    }
    addrinfo* first{};
};

int port_of(int socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
        throw std::system_error{errno, std::generic_category(), "getsockname"};
    }
    const bool v6 = storage.ss_family == AF_INET6;
    return ntohs(v6 ? reinterpret_cast<const sockaddr_in6&>(storage).sin6_port
                    : reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

std::string address_key(int rank) {
    return fmt::format("muster/address/{}", rank);
}

/// What the ranks must have in common, so that a stale one does not fit: job, identities and this store.
std::string digest_of(const Membership& membership, const std::string& session) {
    Sha256 digest;
    digest.update(membership.job);
    for (const auto& identity : membership.identities) {
        digest.update("\n" + identity);
    }
    digest.update("\n\n" + session);
    return digest.finish_hex();
}

} // namespace

std::string Listener::address() const {
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<Listener> listen_on(const std::string& host, int port) {
    const addrinfo hints{.ai_flags = AI_NUMERICSERV | AI_PASSIVE, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    AddressList list;
    const auto service = std::to_string(port);
    if (const int failed = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &list.first); failed != 0) {
        return Error{ErrorCode::invalid_argument, fmt::format("listen on {}: {}", host, ::gai_strerror(failed))};
    }
    int error = EADDRNOTAVAIL;
    for (const addrinfo* entry = list.first; entry != nullptr; entry = entry->ai_next) {
        UniqueFd socket{::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const int on = 1; // a port whose last connections still linger may be used again
        if (socket.valid() && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            ::bind(socket.get(), entry->ai_addr, entry->ai_addrlen) == 0 && ::listen(socket.get(), backlog) == 0) {
            const int bound = port_of(socket.get());
            return Listener{std::move(socket), host, bound};
        }
        error = errno;
    }
    return Error{error == EADDRNOTAVAIL ? ErrorCode::invalid_argument : ErrorCode::unavailable,
                 fmt::format("listen on {} port {}: {}", host, port, std::generic_category().message(error))};
}

Result<std::shared_ptr<collective::Group>> meet(c10d::Store& store,
                                                const Membership& membership,
                                                const std::string& session,
                                                const std::string& host,
                                                Duration operation_timeout,
                                                std::function<void(const std::string&)> on_refusal,
                                                Deadline deadline) {
    auto listener = listen_on(host, 0);
    if (!listener) {
        return listener.error();
    }
    const auto bytes_of = [](const std::string& text) { return std::vector<std::uint8_t>{text.begin(), text.end()}; };
    store.set(address_key(membership.rank), bytes_of(listener->address()));
    std::vector<std::string> keys;
    for (int rank = 0; rank < membership.size(); ++rank) {
        keys.push_back(address_key(rank));
    }
    store.wait(keys, std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left()));
    const auto addresses = store.multiGet(keys);
    collective::GroupSpec spec{.job = membership.job,
                               .generation = membership.generation,
                               .plan_digest = digest_of(membership, session),
                               .rank = membership.rank,
                               .members = {},
                               .credentials = membership.credentials,
                               .operation_timeout = operation_timeout,
                               .on_refusal = on_refusal,
                               .on_warning = on_refusal};
    for (std::size_t rank = 0; rank < membership.identities.size(); ++rank) {
        spec.members.push_back({.name = membership.identities[rank],
                                .identity = membership.identities[rank],
                                .addresses = {{addresses[rank].begin(), addresses[rank].end()}}});
    }
    const auto dialer = collective::tcp_dialer();
    auto group = collective::Group::connect(std::move(spec), listener->fd.get(), *dialer, deadline);
    if (!group) {
        return group.error();
    }
    return std::shared_ptr<collective::Group>{std::move(group).value()};
}

} // namespace muster::process_group
