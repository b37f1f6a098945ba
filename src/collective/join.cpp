#include "collective/join.h"

#include "collective/address.h"
#include "collective/address_limit.h"
#include "collective/admission.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <list>
#include <system_error>

namespace muster::collective {
namespace {

constexpr std::size_t half_open_max = 64;
constexpr Duration handshake_wait = std::chrono::seconds{5};
constexpr Duration dial_wait = std::chrono::seconds{2};
constexpr Duration retry_wait = std::chrono::milliseconds{50};
constexpr std::size_t refusals_kept_max = 8;
constexpr int accepts_per_turn = 16;
// Of each address: what strangers may cost. For each connection that a member may have to this rank some more, since
// all members may be behind one address and try again twenty times a second.
constexpr int address_burst = 64;
constexpr int address_per_second = 50;
constexpr int address_per_second_each = 20;
constexpr Duration drops_told_every = std::chrono::seconds{1};

/// A connection that this rank has to dial.
struct Target {
    Edge edge{};
    std::size_t address{0};
    SteadyTime not_before{};
    std::unique_ptr<Admission> admission{};
    std::size_t final_refusals{0}; ///< in a row; one for each address ends the attempt
    std::string reason{"was not dialled yet"};
};

/// A connection that was accepted.
struct Guest {
    std::string address_key{};
    std::unique_ptr<Admission> admission{};
};

Deadline sooner(Deadline a, Deadline b) {
    return a.at() < b.at() ? a : b;
}

bool hung_up(const Connection& connection) {
    pollfd entry{.fd = connection.fd(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&entry, 1, 0) > 0;
}

class Joiner {
public:
    Joiner(const GroupSpec& spec, int listener, Dialer& dialer, Deadline deadline)
        : spec_{spec}, size_{static_cast<int>(spec.members.size())}, listener_{listener}, dialer_{dialer},
          deadline_{deadline}, limit_{address_burst + expected(spec),
                                      address_per_second + address_per_second_each * expected(spec)} {
        edges_.resize(spec.members.size());
        for (int peer = 0; peer < size_; ++peer) {
            if (peer != spec.rank) {
                edges_[static_cast<std::size_t>(peer)].resize(static_cast<std::size_t>(spec.stripes));
            }
            for (int lane = 0; peer > spec.rank && lane < spec.stripes; ++lane) {
                targets_.push_back({.edge = {peer, lane}});
            }
        }
    }

    Result<Edges> run(const tls::Context& server, const tls::Context& client) {
        while (!complete() || drop_dead()) {
            if (deadline_.passed()) {
                return missing();
            }
            for (auto& target : targets_) {
                dial(target, client);
            }
            wait();
            accept_some(server);
            settle_accepted();
            for (auto& target : targets_) {
                settle(target);
                if (target.final_refusals >= std::max<std::size_t>(1, addresses(target).size())) {
                    return Error{ErrorCode::permission_denied, target.reason};
                }
            }
        }
        return std::move(edges_);
    }

private:
    [[nodiscard]] const std::vector<std::string>& addresses(const Target& target) const {
        return spec_.members[static_cast<std::size_t>(target.edge.peer)].addresses;
    }
    std::unique_ptr<Connection>& slot_of(Edge edge) {
        return edges_[static_cast<std::size_t>(edge.peer)][static_cast<std::size_t>(edge.lane)];
    }
    [[nodiscard]] bool complete() const {
        return std::ranges::all_of(edges_, [](const auto& peer) {
            return std::ranges::all_of(peer, [](const auto& slot) { return slot != nullptr; });
        });
    }

    static double expected(const GroupSpec& spec) { return static_cast<double>(spec.rank) * spec.stripes; }

    /// Lets go of admitted peers that hung up before the others came, e.g. to start anew. True when there were any.
    bool drop_dead() {
        bool any = false;
        for (auto& peer : edges_) {
            for (auto& slot : peer) {
                if (slot != nullptr && hung_up(*slot)) {
                    slot.reset();
                    any = true;
                }
            }
        }
        return any;
    }

    /// An admitted peer that is gone again, e.g. because it started anew, makes room.
    bool is_free(Edge edge) {
        auto& slot = slot_of(edge);
        if (slot != nullptr && hung_up(*slot)) {
            slot.reset();
        }
        const bool taken = std::ranges::any_of(accepted_, [edge](const auto& other) {
            return other.admission->state() == Admission::State::write && other.admission->edge() == edge;
        });
        return slot == nullptr && !taken;
    }

    void dial(Target& target, const tls::Context& client) {
        const auto now = std::chrono::steady_clock::now();
        if (slot_of(target.edge) != nullptr || target.admission != nullptr || now < target.not_before) {
            return;
        }
        if (addresses(target).empty()) {
            target.reason = name_of(spec_.members, target.edge.peer) + " has no address";
            ++target.final_refusals;
            return;
        }
        const auto& address = addresses(target)[target.address % addresses(target).size()];
        auto socket = dialer_.dial(address, sooner(deadline_, Deadline::after(dial_wait)));
        if (!socket) {
            retry(target, fmt::format("{}: {}", name_of(spec_.members, target.edge.peer), socket.error().message));
            return;
        }
        target.admission = std::make_unique<Admission>(
            std::make_unique<TlsConnection>(std::move(socket).value(), client, TlsConnection::Side::client),
            spec_,
            target.edge,
            address,
            sooner(deadline_, Deadline::after(handshake_wait)));
        target.admission->advance();
    }

    void retry(Target& target, std::string reason) {
        target.reason = std::move(reason);
        ++target.address;
        target.not_before = std::chrono::steady_clock::now() + retry_wait;
    }

    void settle(Target& target) {
        if (target.admission == nullptr) {
            return;
        }
        auto& admission = *target.admission;
        admission.advance();
        if (!admission.over() && admission.deadline().passed()) {
            admission.give_up("no answer within the handshake's deadline");
        }
        if (!admission.over()) {
            return;
        }
        if (admission.state() == Admission::State::admitted) {
            slot_of(target.edge) = admission.take();
        } else {
            target.final_refusals = admission.may_retry() ? 0 : target.final_refusals + 1;
            note_refusal(admission.reason());
            retry(target, admission.reason());
        }
        target.admission.reset();
    }

    void wait() {
        auto until = deadline_;
        std::vector<pollfd> entries;
        const auto watch = [&](const Admission& admission) {
            entries.push_back({.fd = admission.fd(), .events = admission.events(), .revents = 0});
            until = sooner(until, admission.deadline());
        };
        entries.push_back({.fd = listener_, .events = POLLIN, .revents = 0});
        for (const auto& guest : accepted_) {
            watch(*guest.admission);
        }
        for (const auto& target : targets_) {
            if (target.admission != nullptr) {
                watch(*target.admission);
            } else if (slot_of(target.edge) == nullptr) {
                until = sooner(until, Deadline{target.not_before});
            }
        }
        if (::poll(entries.data(), entries.size(), until.left_ms()) < 0 && errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "poll"};
        }
    }

    void accept_some(const tls::Context& server) {
        for (int i = 0; i < accepts_per_turn; ++i) {
            sockaddr_storage from{};
            socklen_t size = sizeof from;
            UniqueFd socket{
                ::accept4(listener_, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK)};
            if (!socket.valid()) {
                // Out of descriptors is a failure of this host; everything else concerns the stranger alone.
                if (errno == EMFILE || errno == ENFILE || errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
                    throw std::system_error{errno, std::generic_category(), "accept"};
                }
                return;
            }
            auto remote = peer_address(socket.get());
            auto key = address_key(from);
            if (!limit_.admits(key, std::chrono::steady_clock::now())) {
                note_drop(remote);
                continue;
            }
            make_room();
            accepted_.push_back(
                {std::move(key),
                 std::make_unique<Admission>(
                     std::make_unique<TlsConnection>(std::move(socket), server, TlsConnection::Side::server),
                     spec_,
                     [this](Edge edge) { return is_free(edge); },
                     std::move(remote),
                     sooner(deadline_, Deadline::after(handshake_wait)))});
        }
    }

    /// One sentence a second, however many there are.
    void note_drop(const std::string& remote) {
        ++dropped_;
        const auto now = std::chrono::steady_clock::now();
        if (now - drops_told_at_ >= drops_told_every) {
            note_refusal(fmt::format(
                "{}: too many connections from this address, {} were dropped unheard so far", remote, dropped_));
            drops_told_at_ = now;
        }
    }

    /// Strangers that hold handshakes open do not keep members out: the oldest one goes.
    void make_room() {
        if (accepted_.size() >= half_open_max) {
            auto& oldest = *accepted_.front().admission;
            oldest.give_up("too many half-open connections");
            note_refusal(oldest.reason());
            accepted_.pop_front();
        }
    }

    void settle_accepted() {
        for (auto entry = accepted_.begin(); entry != accepted_.end();) {
            auto& admission = *entry->admission;
            admission.advance();
            if (!admission.over() && admission.deadline().passed()) {
                admission.give_up("did not finish the handshake within its deadline");
            }
            if (!admission.over()) {
                ++entry;
                continue;
            }
            if (admission.state() == Admission::State::admitted) {
                limit_.give_back(entry->address_key);
                slot_of(admission.edge()) = admission.take();
            } else {
                note_refusal(admission.reason());
            }
            entry = accepted_.erase(entry);
        }
    }

    void note_refusal(const std::string& reason) {
        if (spec_.on_refusal) {
            spec_.on_refusal(reason);
        }
        if (std::ranges::find(refusals_, reason) == refusals_.end()) {
            refusals_.push_back(reason);
        }
        if (refusals_.size() > refusals_kept_max) {
            refusals_.pop_front();
        }
    }

    [[nodiscard]] Error missing() {
        std::vector<std::string> parts;
        for (const auto& target : targets_) {
            if (slot_of(target.edge) == nullptr) {
                parts.push_back(target.admission != nullptr
                                    ? name_of(spec_.members, target.edge.peer) + " accepted no handshake yet"
                                    : target.reason);
            }
        }
        for (int peer = 0; peer < spec_.rank; ++peer) {
            const auto& slots = edges_[static_cast<std::size_t>(peer)];
            if (std::ranges::any_of(slots, [](const auto& slot) { return slot == nullptr; })) {
                parts.push_back(name_of(spec_.members, peer) + " did not connect");
            }
        }
        auto text = fmt::format("the group is not complete at the deadline: {}", fmt::join(parts, "; "));
        if (!refusals_.empty()) {
            text += fmt::format("; refused meanwhile: {}", fmt::join(refusals_, "; "));
        }
        return {ErrorCode::deadline_exceeded, text};
    }

    Edges edges_{};
    const GroupSpec& spec_;
    int size_;
    int listener_;
    Dialer& dialer_;
    Deadline deadline_;
    std::vector<Target> targets_{};
    std::list<Guest> accepted_{};
    AddressLimit limit_;
    std::int64_t dropped_{0};
    SteadyTime drops_told_at_{};
    std::deque<std::string> refusals_{};
};

} // namespace

Result<Edges> join(const GroupSpec& spec, int listener, Dialer& dialer, Deadline deadline) {
    const auto server = tls::Context::server(spec.credentials, tls::ClientCertificate::required);
    if (!server) {
        return server.error();
    }
    const auto client = tls::Context::client(spec.credentials);
    if (!client) {
        return client.error();
    }
    const int flags = ::fcntl(listener, F_GETFL);
    if (flags < 0 || ::fcntl(listener, F_SETFL, flags | O_NONBLOCK) != 0) {
        throw std::system_error{errno, std::generic_category(), "make listener non-blocking"};
    }
    return Joiner{spec, listener, dialer, deadline}.run(*server, *client);
}

} // namespace muster::collective
