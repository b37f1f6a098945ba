/// Test support: TCP relays between the ranks of a group, which record, count, cut and freeze.
#pragma once

#include "collective/group_fixture.h"

#include <poll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>

namespace muster::collective::test {

/// Stands between all pairs of ranks of a town. Its own thread moves the bytes.
class Relay {
public:
    enum class Fault { none, cut, freeze, crawl };

    /// `fault` hits every connection of `victim` once `after` bytes have passed. crawl: all of them, at 3 MB/s each.
    Relay(const Town& town, bool records, Fault fault = Fault::none, int victim = -1, std::int64_t after = 0)
        : town_{town}, records_{records}, fault_{fault}, victim_{victim}, after_{after} {
        for (int from = 0; from < town.size(); ++from) {
            for (int to = 0; to < town.size(); ++to) {
                doors_.push_back({from, to, listen_on_loopback()});
            }
        }
        thread_ = std::thread{[this] { run(); }};
    }
    ~Relay() {
        ending_ = true;
        thread_.join();
    }
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// The spec of a rank that reaches the others through the relay only.
    [[nodiscard]] GroupSpec spec(int rank) const {
        auto spec = town_.spec(rank);
        for (const auto& door : doors_) {
            if (door.from == rank) {
                spec.members[static_cast<std::size_t>(door.to)].addresses = {door.listener.address};
            }
        }
        return spec;
    }
    /// What passed: one text for each direction of each connection.
    [[nodiscard]] std::vector<std::string> recorded() {
        const std::scoped_lock lock{mutex_};
        return records_kept_;
    }
    [[nodiscard]] std::int64_t passed() const { return passed_; }

private:
    struct Door {
        int from;
        int to;
        Listener listener;
    };
    struct Direction {
        std::string pending{};
        std::size_t record{};
        bool ended{false};
    };
    struct Wire {
        int from;
        int to;
        std::array<UniqueFd, 2> ends{};
        std::array<Direction, 2> directions{}; ///< by the end that is read
    };
    static constexpr std::size_t pending_max = 64U << 10U;
    static constexpr int turn_ms = 5;

    [[nodiscard]] bool hit(const Wire& wire) const {
        return struck_ && fault_ != Fault::crawl && (wire.from == victim_ || wire.to == victim_);
    }

    void run() {
        while (!ending_) {
            std::vector<pollfd> entries;
            for (const auto& door : doors_) {
                entries.push_back({.fd = door.listener.fd.get(), .events = POLLIN, .revents = 0});
            }
            for (auto& wire : wires_) {
                for (std::size_t end = 0; end < 2; ++end) {
                    const auto& in = wire.directions[end];
                    const auto& out = wire.directions[1 - end];
                    const int events = (!in.ended && in.pending.size() < pending_max ? POLLIN : 0) |
                                       (out.pending.empty() ? 0 : POLLOUT);
                    entries.push_back({.fd = events == 0 || hit(wire) ? -1 : wire.ends[end].get(),
                                       .events = static_cast<short>(events),
                                       .revents = 0});
                }
            }
            if (fault_ == Fault::crawl) {
                (void)::poll(nullptr, 0, turn_ms);
            }
            (void)::poll(entries.data(), entries.size(), turn_ms);
            for (auto& wire : wires_) {
                move(wire);
            }
            for (std::size_t i = 0; i < doors_.size(); ++i) {
                if (entries[i].revents != 0) {
                    open(doors_[i]);
                }
            }
            if (fault_ != Fault::none && passed_ >= after_) {
                struck_ = true;
            }
            if (fault_ == Fault::cut) {
                wires_.remove_if([this](const Wire& wire) { return hit(wire); });
            }
        }
    }

    void open(const Door& door) {
        UniqueFd near{::accept4(door.listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        auto far = tcp_dialer()->dial(town_.members[static_cast<std::size_t>(door.to)].addresses.front(),
                                      Deadline::after(patience));
        if (!near.valid() || !far) {
            return;
        }
        if (fault_ == Fault::crawl) { // What the system holds back is to be small beside what crawls.
            for (const int fd : {near.get(), far->get()}) {
                const int bytes = 32 << 10;
                (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
                (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
            }
        }
        Wire wire{door.from, door.to, {std::move(near), std::move(far).value()}, {}};
        const std::scoped_lock lock{mutex_};
        for (auto& direction : wire.directions) {
            direction.record = records_kept_.size();
            records_kept_.emplace_back();
        }
        wires_.push_back(std::move(wire));
    }

    void move(Wire& wire) {
        if (hit(wire)) {
            return;
        }
        for (std::size_t end = 0; end < 2; ++end) {
            auto& direction = wire.directions[end];
            std::array<char, 16384> buffer{};
            if (!direction.ended && direction.pending.size() < pending_max) {
                const auto count = ::recv(wire.ends[end].get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
                if (count > 0) {
                    direction.pending.append(buffer.data(), static_cast<std::size_t>(count));
                    passed_ += count;
                    if (records_) {
                        const std::scoped_lock lock{mutex_};
                        records_kept_[direction.record].append(buffer.data(), static_cast<std::size_t>(count));
                    }
                } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
                    direction.ended = true;
                }
            }
            const auto sent = ::send(wire.ends[1 - end].get(),
                                     direction.pending.data(),
                                     direction.pending.size(),
                                     MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent > 0) {
                direction.pending.erase(0, static_cast<std::size_t>(sent));
            } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                direction.pending.clear();
            }
            if (direction.ended && direction.pending.empty()) {
                (void)::shutdown(wire.ends[1 - end].get(), SHUT_WR);
            }
        }
    }

    const Town& town_;
    const bool records_;
    const Fault fault_;
    const int victim_;
    const std::int64_t after_;
    std::vector<Door> doors_{};
    std::list<Wire> wires_{};
    bool struck_{false};
    std::atomic<std::int64_t> passed_{0};
    std::atomic<bool> ending_{false};
    std::mutex mutex_;
    std::vector<std::string> records_kept_{}; ///< under mutex_
    std::thread thread_;
};

} // namespace muster::collective::test
