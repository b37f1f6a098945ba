/// Mesh: reading, writing and waiting.
#include "base/assert.h"
#include "collective/mesh.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace muster::collective {
namespace {

/// A faster rank may be ahead by some operations; then its socket fills up and it waits.
constexpr std::size_t inbox_frames_max = 8;

} // namespace

void Mesh::queue(Peer& peer, const FrameHeader& header, std::span<const std::byte> payload) {
    const auto head = encode(header);
    peer.outbox.insert(peer.outbox.end(), head.begin(), head.end());
    peer.outbox.insert(peer.outbox.end(), payload.begin(), payload.end());
}

void Mesh::write_out(Peer& peer) {
    peer.wants_write = false;
    while (peer.outbox_done < peer.outbox.size() && !peer.ended()) {
        const auto result = peer.connection->write(std::span{peer.outbox}.subspan(peer.outbox_done));
        if (result.status == IoStatus::want_write) {
            peer.wants_write = true;
            return;
        }
        if (result.status != IoStatus::done) {
            // What the peer said before it went is still to be read.
            auto reason = peer.connection->explain();
            read_in(peer);
            if (!peer.ended()) {
                peer.broken = std::move(reason);
            }
            break;
        }
        peer.outbox_done += result.bytes;
    }
    peer.outbox.clear();
    peer.outbox_done = 0;
}

void Mesh::read_in(Peer& peer) {
    // Of a peer that has hung up everything is read: an abort frame may be behind the data.
    while (!peer.ended() && (peer.hung_up || peer.inbox.size() < inbox_frames_max)) {
        if (!(peer.partial ? read_payload(peer) : read_head(peer))) {
            return;
        }
    }
}

bool Mesh::read_head(Peer& peer) {
    const auto result = peer.connection->read(std::span{peer.head}.subspan(peer.head_done));
    if (result.status != IoStatus::done) {
        note_end(peer, result.status);
        return false;
    }
    peer.head_done += result.bytes;
    if (peer.head_done < peer.head.size()) {
        return true;
    }
    peer.head_done = 0;
    const auto header = decode(peer.head, pair_bytes_max_);
    if (!header) {
        peer.broken = header.error().message;
        return false;
    }
    peer.partial = Frame{*header, std::vector<std::byte>(header->payload_bytes)};
    peer.partial_done = 0;
    return true;
}

bool Mesh::read_payload(Peer& peer) {
    auto& payload = peer.partial->payload;
    if (peer.partial_done < payload.size()) {
        const auto result = peer.connection->read(std::span{payload}.subspan(peer.partial_done));
        if (result.status != IoStatus::done) {
            note_end(peer, result.status);
            return false;
        }
        peer.partial_done += result.bytes;
    }
    if (peer.partial_done == payload.size()) {
        auto frame = std::move(*peer.partial);
        peer.partial.reset();
        dispatch(peer, std::move(frame));
    }
    return true;
}

void Mesh::note_end(Peer& peer, IoStatus status) {
    if (status == IoStatus::want_read || status == IoStatus::want_write) {
        return;
    }
    const bool between_frames = !peer.partial && peer.head_done == 0;
    if (status == IoStatus::closed && between_frames) {
        peer.left = true;
    } else if (status == IoStatus::closed) {
        peer.broken = "connection closed in the middle of a frame";
    } else {
        peer.broken = peer.connection->explain();
    }
}

void Mesh::dispatch(Peer& peer, Frame frame) {
    switch (frame.header.kind) {
    case FrameKind::data:
        peer.inbox.push_back(std::move(frame));
        return;
    case FrameKind::abort:
        if (const auto failure = decode_failure(frame.payload); !failure) {
            peer.broken = failure.error().message;
        } else if (!told_) {
            const bool known = failure->culprit >= 0 && failure->culprit < size_;
            told_ = Failure{known ? failure->culprit : -1, failure->text};
        }
        return;
    case FrameKind::waiting:
        if (const auto target = decode_waiting(frame.payload); !target) {
            peer.broken = target.error().message;
        } else {
            peer.waiting = Waiting{*target, frame.header.call, std::chrono::steady_clock::now()};
        }
        return;
    }
    MUSTER_ASSERT(false);
}

void Mesh::read_ring(std::span<std::byte> destination) {
    while (!destination.empty()) {
        const auto result = ring_in_->read(destination);
        switch (result.status) {
        case IoStatus::done:
            destination = destination.subspan(result.bytes);
            progressed();
            break;
        case IoStatus::want_read:
        case IoStatus::want_write:
            wait(previous(), true);
            break;
        case IoStatus::closed:
        case IoStatus::cut:
        case IoStatus::failed:
            lost(previous(), ring_in_->explain());
        }
    }
}

void Mesh::wait(int target, bool for_ring) {
    judge();
    if (deadline_.passed()) {
        timed_out(target);
    }
    const auto before = std::chrono::steady_clock::now();
    poll_once(for_ring);
    const auto now = std::chrono::steady_clock::now();
    wait_ns_.fetch_add(std::chrono::nanoseconds{now - before}.count(), std::memory_order_relaxed);
    if (now - (announced_ ? announced_at_ : quiet_since_) >= announce_after_) {
        announce(target);
    }
    judge();
}

void Mesh::poll_once(bool for_ring) {
    poll_entries_.clear();
    for (const auto& peer : peers_) {
        const bool watched = peer.connection != nullptr && !peer.ended();
        const int wanted =
            POLLRDHUP | (peer.inbox.size() < inbox_frames_max ? POLLIN : 0) | (peer.wants_write ? POLLOUT : 0);
        poll_entries_.push_back(
            {.fd = watched ? peer.connection->fd() : -1, .events = static_cast<short>(wanted), .revents = 0});
    }
    poll_entries_.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    poll_entries_.push_back({.fd = for_ring ? ring_in_->fd() : -1, .events = POLLIN, .revents = 0});
    const Deadline announcement{(announced_ ? announced_at_ : quiet_since_) + announce_after_};
    const int wait_ms = std::min(deadline_.left_ms(), announcement.left_ms());
    if (::poll(poll_entries_.data(), poll_entries_.size(), wait_ms) < 0) {
        if (errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "poll"};
        }
        return;
    }
    for (auto& peer : peers_) {
        const auto events = poll_entries_[static_cast<std::size_t>(peer.rank)].revents;
        if ((events & POLLOUT) != 0) {
            write_out(peer);
        }
        peer.hung_up = peer.hung_up || (events & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
        if ((events & ~POLLOUT) != 0) {
            read_in(peer);
        }
    }
    if (poll_entries_[peers_.size()].revents != 0) {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count);
    }
}

void Mesh::announce(int target) {
    const auto payload = encode_waiting(target);
    for (auto& peer : peers_) {
        // A peer that does not read gets no second announcement behind the first.
        if (peer.connection != nullptr && !peer.ended() && peer.outbox.empty()) {
            queue(peer, {.kind = FrameKind::waiting, .call = call_, .payload_bytes = payload.size()}, payload);
            write_out(peer);
        }
    }
    announced_ = target >= 0;
    announced_at_ = std::chrono::steady_clock::now();
}

void Mesh::progressed() {
    quiet_since_ = std::chrono::steady_clock::now();
    if (announced_) {
        announce(-1);
    }
}

} // namespace muster::collective
