/// tcp_dialer(): connect() with a deadline, over every address a name has.
#include "collective/address.h"
#include "collective/group.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace muster::collective {
namespace {

struct AddressList {
    ~AddressList() {
        if (first != nullptr) {
            ::freeaddrinfo(first);
        }
    }
    addrinfo* first{};
};

/// Waits until connect() has ended. Returns 0 or the errno of its failure.
int finish_connect(int socket, Deadline deadline) {
    pollfd entry{.fd = socket, .events = POLLOUT, .revents = 0};
    for (;;) {
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready == 0) {
            return ETIMEDOUT;
        }
        if (ready > 0) {
            break;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

class TcpDialer final : public Dialer {
public:
    Result<UniqueFd> dial(const std::string& address, Deadline deadline) override {
        const auto parts = split_address(address);
        if (!parts) {
            return parts.error();
        }
        const addrinfo hints{.ai_flags = AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        AddressList list;
        const int refused = ::getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &list.first);
        if (refused != 0) {
            return Error{ErrorCode::unavailable, fmt::format("resolve {}: {}", address, ::gai_strerror(refused))};
        }
        int error = EADDRNOTAVAIL;
        for (const addrinfo* entry = list.first; entry != nullptr && !deadline.passed(); entry = entry->ai_next) {
            UniqueFd socket{::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
            error = 0;
            if (!socket.valid() || ::connect(socket.get(), entry->ai_addr, entry->ai_addrlen) != 0) {
                error = errno == EINPROGRESS ? finish_connect(socket.get(), deadline) : errno;
            }
            if (error == 0) {
                return socket;
            }
        }
        const auto code = error == ETIMEDOUT ? ErrorCode::deadline_exceeded : ErrorCode::unavailable;
        return Error{code, fmt::format("connect to {}: {}", address, std::generic_category().message(error))};
    }
};

} // namespace

std::unique_ptr<Dialer> tcp_dialer() {
    return std::make_unique<TcpDialer>();
}

} // namespace muster::collective
