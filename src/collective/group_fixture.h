/// Test support: a job's certificates, and ranks of a group as threads of one process.
#pragma once

#include "collective/group.h"
#include "tls/identity.h"
#include "tls/keys.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <exception>
#include <functional>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::collective::test {

inline constexpr auto patience = std::chrono::seconds{20};

/// A job CA that issues certificates for members.
class Pki {
public:
    Pki()
        : authority_{
              tls::Authority::open(tls::Authority::make_root("job CA", std::chrono::hours{1}, wall_now())).value()} {}

    [[nodiscard]] tls::Credentials member(const std::string& uri) const {
        return {.own = authority_.issue({.uri = uri, .lifetime = std::chrono::hours{1}}, wall_now()).value(),
                .trust = authority_.certificate()};
    }
    [[nodiscard]] tls::Credentials expired(const std::string& uri) const {
        return from(wall_now() - std::chrono::minutes{50}, uri, std::chrono::minutes{10});
    }
    [[nodiscard]] tls::Credentials not_valid_yet(const std::string& uri) const {
        return from(wall_now() + std::chrono::minutes{20}, uri, std::chrono::minutes{10});
    }
    /// Three minutes are left of an hour.
    [[nodiscard]] tls::Credentials about_to_expire(const std::string& uri) const {
        return from(wall_now() - std::chrono::minutes{57}, uri, std::chrono::hours{1});
    }
    static WallTime wall_now() { return std::chrono::system_clock::now(); }
    /// One for all tests: keys take time.
    static const Pki& shared() {
        static const Pki pki;
        return pki;
    }

private:
    [[nodiscard]] tls::Credentials from(WallTime begin, const std::string& uri, std::chrono::seconds lifetime) const {
        return {.own = authority_.issue({.uri = uri, .lifetime = lifetime}, begin).value(),
                .trust = authority_.certificate()};
    }

    tls::Authority authority_;
};

inline std::string identity_of(int rank) {
    return tls::job_uri("job-1", fmt::format("ManagedElement=gnb-{},MLTrainingFunction=1", rank));
}

struct Listener {
    UniqueFd fd{};
    std::string address{};
};

inline Listener listen_on_loopback() {
    Listener listener{UniqueFd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, ""};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener.fd.get(), 128) != 0 ||
        ::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        throw std::runtime_error{"no listener on loopback"};
    }
    listener.address = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    return listener;
}

/// The listeners and specs of a group of `size` ranks.
struct Town {
    explicit Town(int size) {
        for (int rank = 0; rank < size; ++rank) {
            listeners.push_back(listen_on_loopback());
            members.push_back({fmt::format("gnb-{}", rank), identity_of(rank), {listeners.back().address}});
        }
    }
    [[nodiscard]] GroupSpec spec(int rank) const {
        return {.job = "job-1",
                .generation = 3,
                .plan_digest = "cafe",
                .rank = rank,
                .members = members,
                .credentials = credentials_of(rank),
                .operation_timeout = patience};
    }
    /// Keys are made once for each rank.
    static const tls::Credentials& credentials_of(int rank) {
        static const std::vector<tls::Credentials> all = [] {
            std::vector<tls::Credentials> made;
            for (int i = 0; i < 8; ++i) {
                made.push_back(Pki::shared().member(identity_of(i)));
            }
            return made;
        }();
        return all.at(static_cast<std::size_t>(rank));
    }
    [[nodiscard]] int listener(int rank) const { return listeners.at(static_cast<std::size_t>(rank)).fd.get(); }
    [[nodiscard]] int size() const { return static_cast<int>(members.size()); }

    std::vector<Listener> listeners{};
    std::vector<Member> members{};
};

inline Result<std::unique_ptr<Group>> connect(const Town& town, GroupSpec spec, Duration wait = patience) {
    const auto dialer = tcp_dialer();
    const int rank = spec.rank;
    return Group::connect(std::move(spec), town.listener(rank), *dialer, Deadline::after(wait));
}

/// Runs `body(rank)` in one thread for each rank and rethrows the first exception.
inline void in_threads(int size, const std::function<void(int)>& body) {
    std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
        threads.emplace_back([&, rank] {
            try {
                body(rank);
            } catch (...) { // The boundary of the thread.
                failures[static_cast<std::size_t>(rank)] = std::current_exception();
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    for (const auto& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

using Adjust = std::function<void(GroupSpec&)>;

/// Connects `size` ranks and runs `body(group)` on each in its own thread. `adjust` changes every spec before.
inline void run_ranks(int size, const std::function<void(Group&)>& body, const Adjust& adjust = {}) {
    const Town town{size};
    std::latch connected{size};
    in_threads(size, [&](int rank) {
        auto spec = town.spec(rank);
        if (adjust) {
            adjust(spec);
        }
        auto group = connect(town, std::move(spec));
        connected.arrive_and_wait(); // What a quick rank does wrong must not fail another one's connect().
        if (!group) {
            throw std::runtime_error{group.error().text()};
        }
        body(**group);
    });
}

} // namespace muster::collective::test
