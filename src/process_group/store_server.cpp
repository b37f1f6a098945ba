#include "process_group/store_server.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/digest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace muster::process_group {
namespace {

constexpr std::size_t half_open_max = 64;
constexpr std::size_t connections_per_rank_max = 64;
constexpr int accepts_per_turn = 16;

std::int64_t number_of(const std::string& text) {
    std::int64_t number = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), number); // 0 when it is none, which is not ours then
    return number;
}

std::string random_session() {
    std::array<unsigned char, 16> bytes{};
    MUSTER_ASSERT(RAND_bytes(bytes.data(), bytes.size()) == 1);
    return to_hex(std::as_bytes(std::span{bytes}));
}

} // namespace

Result<std::unique_ptr<StoreServer>>
StoreServer::start(const Membership& membership, UniqueFd listener, OnRefusal on_refusal) {
    auto context = tls::Context::server(membership.credentials, tls::ClientCertificate::required);
    if (!context) {
        return context.error();
    }
    const int flags = ::fcntl(listener.get(), F_GETFL);
    if (flags < 0 || ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
        return Error{ErrorCode::invalid_argument, "the store's listener is no socket"};
    }
    return std::unique_ptr<StoreServer>{
        new StoreServer{membership, std::move(listener), std::move(context).value(), std::move(on_refusal)}};
}

StoreServer::StoreServer(const Membership& membership, UniqueFd listener, tls::Context context, OnRefusal on_refusal)
    : membership_{membership}, session_{random_session()}, listener_{std::move(listener)}, context_{std::move(context)},
      on_refusal_{std::move(on_refusal)}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    MUSTER_ASSERT(wake_.valid());
    thread_ = std::jthread{[this] { run(); }};
}

StoreServer::~StoreServer() {
    thread_.request_stop();
    const std::uint64_t one = 1;
    MUSTER_ASSERT(::write(wake_.get(), &one, sizeof one) == sizeof one);
    thread_.join();
}

void StoreServer::run() {
    while (!thread_.get_stop_token().stop_requested()) {
        step();
    }
    for (auto& client : clients_) {
        client->end("");
    }
}

int StoreServer::milliseconds_to_wait() const {
    int least = 60'000;
    for (const auto& client : clients_) {
        if (!client->admitted || client->state() == ServedClient::State::waiting) {
            least = std::min(least, client->deadline.left_ms());
        }
    }
    return least;
}

void StoreServer::step() {
    std::vector<pollfd> entries{{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                {.fd = listener_.get(), .events = POLLIN, .revents = 0}};
    for (const auto& client : clients_) {
        entries.push_back({.fd = client->fd(), .events = client->events(), .revents = 0});
    }
    if (::poll(entries.data(), entries.size(), milliseconds_to_wait()) < 0) {
        MUSTER_ASSERT(errno == EINTR);
        return;
    }
    std::size_t index = 2;
    for (auto& client : clients_) {
        serve(*client, entries[index++].revents != 0);
    }
    answer_waiting();
    for (const auto& client : clients_) {
        if (client->over() && !client->trouble.empty() && on_refusal_) {
            on_refusal_(fmt::format("{}: {}", client->remote, client->trouble));
        }
    }
    std::erase_if(clients_, [](const auto& client) { return client->over(); });
    accept_some();
}

void StoreServer::accept_some() {
    for (int i = 0; i < accepts_per_turn; ++i) {
        UniqueFd socket{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (!socket.valid()) {
            return;
        }
        const auto half_open = std::ranges::count_if(clients_, [](const auto& client) { return !client->admitted; });
        const auto ranks = membership_.identities.size();
        if (static_cast<std::size_t>(half_open) >= half_open_max ||
            clients_.size() >= half_open_max + ranks * connections_per_rank_max) {
            continue; // closed at once; an honest rank dials again
        }
        clients_.push_back(std::make_unique<ServedClient>(std::move(socket), context_));
    }
}

void StoreServer::serve(ServedClient& client, bool ready) {
    if (client.state() == ServedClient::State::waiting) {
        if (ready && client.hung_up()) {
            client.end("");
        }
        return;
    }
    if (!client.admitted && client.deadline.passed()) {
        client.end("did not complete its greeting in time");
        return;
    }
    while (ready && client.advance()) {
        if (!client.admitted) {
            judge(client, *client.request);
        } else if (auto reply = table_.answer(*client.request)) {
            client.reply(*reply);
        } else if (client.request->patience.count() == 0) {
            client.reply(table_.give_up(*client.request));
        } else {
            client.deadline = Deadline::after(client.request->patience);
            return;
        }
    }
}

void StoreServer::judge(ServedClient& client, const StoreRequest& hello) {
    const auto identity = client.identity();
    const auto& parts = hello.parts;
    const auto refuse = [&client](const std::string& why) {
        client.trouble = why;
        client.reply({StoreReplyKind::refused, {why}}, true);
    };
    if (!identity) {
        return refuse(identity.error().message);
    }
    if (hello.kind != StoreRequestKind::hello || parts.size() != 4) {
        return refuse(fmt::format("{} did not greet first", identity->uri));
    }
    // A rank that is quicker to begin anew than this one waits for this one.
    if (const auto theirs = number_of(parts[1]); parts[0] == membership_.job && theirs > membership_.generation) {
        return client.reply({StoreReplyKind::later, {}}, true);
    }
    const std::vector<std::string> ours{
        membership_.job, std::to_string(membership_.generation), std::to_string(membership_.size())};
    if (const std::vector<std::string> theirs{parts[0], parts[1], parts[2]}; theirs != ours) {
        return refuse(fmt::format("{} belongs to job '{}', generation {}, of {} ranks; this is job '{}', generation "
                                  "{}, of {} ranks",
                                  identity->uri,
                                  theirs[0],
                                  theirs[1],
                                  theirs[2],
                                  ours[0],
                                  ours[1],
                                  ours[2]));
    }
    for (int rank = 0; rank < membership_.size(); ++rank) {
        const auto& expected = membership_.identities[static_cast<std::size_t>(rank)];
        if (parts[3] == std::to_string(rank)) {
            if (identity->uri != tls::parse_identity(expected).uri) {
                return refuse(fmt::format("says it is rank {}, whose certificate carries {}, but showed that of {}",
                                          rank,
                                          expected,
                                          identity->uri));
            }
            client.admitted = true;
            return client.reply({StoreReplyKind::done, {session_}});
        }
    }
    refuse(fmt::format("{} says it is rank '{}' of {}", identity->uri, parts[3], membership_.size()));
}

void StoreServer::answer_waiting() {
    for (bool again = true; again;) {
        again = false; // a pop frees nothing that others wait for, but a reply lets its client ask for the next thing
        for (auto& client : clients_) {
            if (client->state() != ServedClient::State::waiting) {
                continue;
            }
            if (auto reply = table_.answer(*client->request)) {
                client->reply(*reply);
            } else if (client->deadline.passed()) {
                client->reply(table_.give_up(*client->request));
            } else {
                continue;
            }
            serve(*client, true);
            again = true;
        }
    }
}

} // namespace muster::process_group
