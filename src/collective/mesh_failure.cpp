/// Mesh: who has failed, and how every rank learns it.
#include "collective/admission.h"
#include "collective/mesh.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace muster::collective {
namespace {

/// How long a rank that lost a connection looks for the word of those who know more.
constexpr Duration word_wait = std::chrono::milliseconds{40};

double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

} // namespace

std::string Mesh::name(int rank) const {
    return name_of(members_, rank);
}

std::optional<Failure> Mesh::recorded() {
    const std::scoped_lock lock{mutex_};
    return state_.failure;
}

void Mesh::judge() {
    if (const auto failure = recorded()) {
        fail(*failure);
    }
    if (told_) {
        fail(*told_);
    }
    for (const auto& peer : peers_) {
        if (!peer.broken.empty()) {
            lost(peer.rank, peer.broken);
        }
        const bool stale = !peer.inbox.empty() && peer.inbox.front().header.call.sequence <= call_.sequence;
        if (stale && peer.inbox.front().header.call != call_) {
            mismatch(peer.rank, peer.inbox.front().header.call);
        }
        if (peer.waiting && peer.waiting->call.sequence == call_.sequence && peer.waiting->call != call_) {
            mismatch(peer.rank, peer.waiting->call);
        }
    }
    if (const auto reason = sender_->failure()) {
        lost(next(), *reason);
    }
}

void Mesh::lost(int peer, const std::string& how) {
    // Whoever ends a group says why on the pair connections first.
    const auto until = Deadline::after(word_wait);
    auto& culprit = peers_[static_cast<std::size_t>(peer)];
    for (;;) {
        for (auto& other : peers_) {
            if (other.connection != nullptr) {
                other.inbox.clear();
                read_in(other);
            }
        }
        if (const auto failure = recorded()) {
            fail(*failure);
        }
        if (told_) {
            fail(*told_);
        }
        if (culprit.ended() || until.passed()) {
            break;
        }
        pollfd entry{.fd = culprit.connection->fd(), .events = POLLIN, .revents = 0};
        (void)::poll(&entry, 1, until.left_ms());
    }
    fail({peer, fmt::format("{}: {}, in {}", name(peer), how, text_of(call_))});
}

int Mesh::silent_one(int target) const {
    // Follow who waits for whom to the one that does not say that it waits.
    const auto fresh_after = std::chrono::steady_clock::now() - 3 * announce_after_;
    std::vector<bool> seen(peers_.size());
    int suspect = target;
    while (suspect != rank_ && !seen[static_cast<std::size_t>(suspect)]) {
        seen[static_cast<std::size_t>(suspect)] = true;
        const auto& waiting = peers_[static_cast<std::size_t>(suspect)].waiting;
        // It may still be in an earlier operation than this rank.
        const bool waits = waiting && waiting->at >= fresh_after && waiting->target >= 0 && waiting->target < size_;
        if (!waits) {
            return suspect;
        }
        suspect = waiting->target;
    }
    return -1;
}

void Mesh::timed_out(int target) {
    const int culprit = silent_one(target);
    if (culprit < 0) {
        fail({-1,
              fmt::format("{} did not end within {:.1f} s although no rank is silent: {} waits for {}",
                          text_of(call_),
                          seconds(deadline_.at() - began_),
                          name(rank_),
                          name(target))});
    }
    auto heard = peers_[static_cast<std::size_t>(culprit)].connection->last_received();
    if (culprit == previous()) {
        heard = std::max(heard, ring_in_->last_received());
    }
    const auto silence = std::chrono::steady_clock::now() - heard;
    const auto since =
        std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(silence);
    fail({culprit,
          fmt::format("{} is silent since {} ({:.1f} s), in {} after {:.1f} s",
                      name(culprit),
                      rfc3339(since),
                      seconds(silence),
                      text_of(call_),
                      seconds(deadline_.at() - began_))});
}

void Mesh::mismatch(int peer, const Call& theirs) {
    fail({peer,
          fmt::format("ranks call different collectives: {} calls {}, {} calls {}",
                      name(peer),
                      text_of(theirs),
                      name(rank_),
                      text_of(call_))});
}

void Mesh::fail(Failure failure) {
    {
        const std::scoped_lock lock{mutex_};
        if (state_.failure) {
            failure = *state_.failure; // The first reason is the cause of the others.
        }
        state_.failure = failure;
    }
    tear_down(failure);
    throw GroupFailed{failure.text, failure.culprit};
}

void Mesh::tear_down(const Failure& failure) {
    {
        const std::scoped_lock lock{mutex_};
        if (std::exchange(state_.torn_down, true)) {
            return;
        }
    }
    const auto payload = encode(failure);
    for (auto& peer : peers_) {
        if (peer.connection == nullptr) {
            continue;
        }
        if (!peer.ended()) {
            queue(peer, {.kind = FrameKind::abort, .call = call_, .payload_bytes = payload.size()}, payload);
            write_out(peer);
        }
        peer.connection->finish();
    }
    ring_out_->shut_down();
    sender_->stop();
    ring_in_->shut_down();
}

void Mesh::abort(const std::string& reason) {
    const Failure failure{rank_, fmt::format("{} aborted the group: {}", name(rank_), reason)};
    {
        const std::scoped_lock lock{mutex_};
        if (state_.failure) {
            return;
        }
        state_.failure = failure;
        if (state_.owner == Owner::operation) {
            const std::uint64_t one = 1;
            (void)!::write(wake_.get(), &one, sizeof one);
            return; // The thread of the operation ends it.
        }
        state_.owner = Owner::aborter;
    }
    tear_down(failure);
}

void Mesh::abandon() noexcept {
    Failure failure{rank_, name(rank_) + " left " + text_of(call_) + " in the middle"};
    {
        const std::scoped_lock lock{mutex_};
        if (state_.failure) {
            failure = *state_.failure;
        }
        state_.failure = failure;
    }
    tear_down(failure);
}

} // namespace muster::collective
