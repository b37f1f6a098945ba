#include "process_group/store_channel.h"

#include "collective/group.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <thread>

namespace muster::process_group {
namespace {

using Connection = collective::TlsConnection;
using collective::IoStatus;

constexpr Duration dial_wait = std::chrono::seconds{5};
constexpr Duration retry_wait = std::chrono::milliseconds{50};
/// How much longer than a request's patience the answer may take.
constexpr Duration answer_wait = std::chrono::seconds{30};
constexpr std::size_t idle_connections_max = 8;

std::string host_of(int socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    std::array<char, NI_MAXHOST> host{};
    const bool known = ::getsockname(socket, address, &size) == 0 &&
                       ::getnameinfo(address, size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) == 0;
    return known ? host.data() : "";
}

tls::Context client_context(const Membership& membership) {
    auto context = tls::Context::client(membership.credentials);
    if (!context) {
        fail_in_store(context.error().text());
    }
    return std::move(context).value();
}

/// False when the connection has ended or the deadline passed.
bool wait_for(const Connection& connection, IoStatus status, Deadline deadline) {
    if (status != IoStatus::want_read && status != IoStatus::want_write) {
        return false;
    }
    pollfd entry{.fd = connection.fd(),
                 .events = static_cast<short>(status == IoStatus::want_read ? POLLIN : POLLOUT),
                 .revents = 0};
    for (;;) {
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

/// Writes or reads all of `bytes`.
Result<void> move_all(Connection& connection, std::span<std::byte> bytes, Deadline deadline, bool write) {
    while (!bytes.empty()) {
        const auto [status, count] = write ? connection.write(bytes) : connection.read(bytes);
        if (status == IoStatus::done) {
            bytes = bytes.subspan(count);
        } else if (!wait_for(connection, status, deadline)) {
            const bool silent = status == IoStatus::want_read || status == IoStatus::want_write;
            return Error{silent ? ErrorCode::deadline_exceeded : ErrorCode::unavailable,
                         silent ? "no answer" : connection.explain()};
        }
    }
    return {};
}

Result<StoreReply> exchange(Connection& connection, const StoreRequest& request, Deadline deadline) {
    auto out = encode(request);
    if (!out) {
        return out.error();
    }
    if (auto sent = move_all(connection, *out, deadline, true); !sent) {
        return sent.error();
    }
    std::array<std::byte, store_head_bytes> head_bytes{};
    if (auto received = move_all(connection, head_bytes, deadline, false); !received) {
        return received.error();
    }
    const auto head = decode_store_head(head_bytes);
    if (!head) {
        return head.error();
    }
    std::vector<std::byte> body(head->body_bytes);
    if (auto received = move_all(connection, body, deadline, false); !received) {
        return received.error();
    }
    return decode_store_reply(*head, body);
}

} // namespace

void fail_in_store(const std::string& text) {
    C10_THROW_ERROR(DistStoreError, text);
}

StoreChannel::StoreChannel(Membership membership, std::string address, std::shared_ptr<StoreServer> server)
    : membership_{std::move(membership)}, address_{std::move(address)}, server_{std::move(server)},
      context_{client_context(membership_)} {}

void StoreChannel::connect(Deadline deadline) {
    for (std::string why;;) {
        std::string latest;
        if (auto connection = dial(deadline, latest)) {
            give_back(std::move(connection));
            return;
        }
        if (why.empty() || !deadline.passed()) { // the last attempt had no time to learn anything
            why = latest;
        }
        if (deadline.passed()) {
            fail_in_store(fmt::format("{} was not reached: {}", who(), why));
        }
        std::this_thread::sleep_for(retry_wait);
    }
}

StoreReply StoreChannel::ask(const StoreRequest& request) {
    auto connection = take();
    std::string why;
    const auto deadline = Deadline::after(request.patience + answer_wait);
    if (!connection) {
        connection = dial(deadline, why);
    }
    if (!connection) {
        fail_in_store(fmt::format("{} was not reached: {}", who(), why));
    }
    auto reply = exchange(*connection, request, deadline);
    if (!reply) {
        fail_in_store(fmt::format("{}: {}", who(), reply.error().message));
    }
    give_back(std::move(connection));
    return std::move(reply).value();
}

std::string StoreChannel::who() const {
    return fmt::format("the store of {} at {}", membership_.name_of(0), address_);
}

StoreChannel::ConnectionPtr StoreChannel::take() {
    return idle_.with([](std::vector<ConnectionPtr>& idle) {
        ConnectionPtr taken;
        if (!idle.empty()) {
            taken = std::move(idle.back());
            idle.pop_back();
        }
        return taken;
    });
}

void StoreChannel::give_back(ConnectionPtr connection) {
    idle_.with([&](std::vector<ConnectionPtr>& idle) {
        if (idle.size() < idle_connections_max) {
            idle.push_back(std::move(connection));
        }
    });
}

/// One attempt. Throws when rank 0 is there but is not who it must be, or refuses: later will be no better.
StoreChannel::ConnectionPtr StoreChannel::dial(Deadline deadline, std::string& why) {
    const auto soon = Deadline::after(dial_wait);
    const auto until = soon.at() < deadline.at() ? soon : deadline;
    const auto dialer = collective::tcp_dialer();
    auto socket = dialer->dial(address_, until);
    if (!socket) {
        why = socket.error().message;
        return nullptr;
    }
    const std::string host = host_of(socket->get());
    auto connection = std::make_unique<Connection>(std::move(socket).value(), context_, Connection::Side::client);
    IoStatus status{};
    while ((status = connection->handshake()) != IoStatus::done) {
        if (!wait_for(*connection, status, until)) {
            const bool silent = status == IoStatus::want_read || status == IoStatus::want_write;
            why = silent ? "no answer to the TLS handshake" : connection->explain();
            if (status == IoStatus::failed) {
                fail_in_store(fmt::format("{}: {}", who(), why));
            }
            return nullptr;
        }
    }
    return greet(*connection, host, until, why) ? std::move(connection) : nullptr;
}

/// False, when another store will soon answer there.
bool StoreChannel::greet(Connection& connection, const std::string& host, Deadline deadline, std::string& why) {
    const auto identity = tls::peer_identity(connection.native());
    const auto expected = tls::parse_identity(membership_.identities.front()).uri;
    if (!identity || identity->uri != expected) {
        fail_in_store(
            fmt::format("{} showed the certificate of {}; somebody else answers there, or the identities differ",
                        who(),
                        identity ? identity->uri : identity.error().message));
    }
    const auto reply = exchange(connection,
                                {StoreRequestKind::hello,
                                 std::chrono::milliseconds{0},
                                 {membership_.job,
                                  std::to_string(membership_.generation),
                                  std::to_string(membership_.size()),
                                  std::to_string(membership_.rank)}},
                                deadline);
    if (reply && reply->kind == StoreReplyKind::later) {
        why = fmt::format("it has not begun generation {} yet", membership_.generation);
        return false;
    }
    if (!reply || reply->kind != StoreReplyKind::done || reply->parts.size() != 1) {
        const std::string reason = !reply                 ? reply.error().message
                                   : reply->parts.empty() ? "an answer without words"
                                                          : reply->parts.front();
        fail_in_store(fmt::format("{} refused {}: {}", who(), membership_.name_of(membership_.rank), reason));
    }
    const std::scoped_lock lock{first_mutex_};
    if (session_.empty()) {
        session_ = reply->parts.front();
        own_host_ = host;
    } else if (session_ != reply->parts.front()) {
        fail_in_store(fmt::format("{} was started anew; its keys are gone", who()));
    }
    return true;
}

} // namespace muster::process_group
