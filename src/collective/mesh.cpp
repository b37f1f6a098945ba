#include "collective/mesh.h"

#include "base/assert.h"
#include "collective/element.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace muster::collective {
namespace {

constexpr Duration announce_after_max = std::chrono::milliseconds{500};
constexpr int drained_reads_max = 64;
// The caller's thread, which sees all connections, is to find out first who is silent.
constexpr Duration sender_grace = std::chrono::seconds{1};

} // namespace

Mesh::Mesh(const GroupSpec& spec, Edges edges, std::shared_ptr<WireCounters> counters)
    : rank_{spec.rank}, size_{static_cast<int>(spec.members.size())}, members_{spec.members},
      operation_timeout_{spec.operation_timeout}, announce_after_{std::min<Duration>(spec.operation_timeout / 8,
                                                                                     announce_after_max)},
      // Recursive doubling carries f16 and bf16 as f32.
      pair_bytes_max_{2 * spec.small_bytes_max}, segment_bytes_{spec.segment_bytes}, counters_{std::move(counters)},
      cipher_{edges.ring_out->cipher()}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
      ring_in_{std::move(edges.ring_in)}, ring_out_{std::move(edges.ring_out)}, deadline_{SteadyTime{}} {
    if (!wake_.valid()) {
        throw std::system_error{errno, std::generic_category(), "eventfd"};
    }
    for (int peer = 0; peer < size_; ++peer) {
        peers_.push_back({.rank = peer, .connection = std::move(edges.pairs[static_cast<std::size_t>(peer)])});
    }
    sender_ = std::make_unique<RingSender>(*ring_out_, wake_.get());
}

Mesh::~Mesh() {
    sender_.reset();
    for (auto& peer : peers_) {
        if (peer.connection != nullptr && !peer.ended()) {
            // Unread bytes would turn the end of the connection into a reset.
            std::array<std::byte, 4096> ignored{};
            for (int i = 0; i < drained_reads_max && peer.connection->read(ignored).status == IoStatus::done; ++i) {
            }
            peer.connection->finish();
        }
    }
    ring_out_->finish();
    ring_in_->finish();
}

void Mesh::begin(Call call, std::optional<Deadline> deadline) {
    {
        const std::scoped_lock lock{mutex_};
        if (state_.failure) {
            throw GroupFailed{state_.failure->text, state_.failure->culprit};
        }
        MUSTER_ASSERT(state_.owner == Owner::nobody); // One thread at a time runs collectives.
        state_.owner = Owner::operation;
    }
    call_ = call;
    call_.sequence = ++sequence_;
    began_ = std::chrono::steady_clock::now();
    quiet_since_ = began_;
    deadline_ = deadline.value_or(Deadline{began_ + operation_timeout_});
    announced_ = false;
    // What came between two operations: frames of faster ranks, or the end of the group.
    poll_entries_.clear();
    for (const auto& peer : peers_) {
        const bool watched = peer.connection != nullptr && !peer.ended();
        poll_entries_.push_back({.fd = watched ? peer.connection->fd() : -1, .events = POLLIN, .revents = 0});
    }
    if (::poll(poll_entries_.data(), poll_entries_.size(), 0) > 0) {
        for (auto& peer : peers_) {
            if (poll_entries_[static_cast<std::size_t>(peer.rank)].revents != 0) {
                read_in(peer);
            }
        }
    }
    judge();
}

void Mesh::end() {
    std::optional<Failure> failure;
    {
        const std::scoped_lock lock{mutex_};
        failure = state_.failure;
        if (!failure) {
            state_.owner = Owner::nobody;
        }
    }
    if (failure) {
        fail(*failure);
    }
}

void Mesh::send(int peer, std::uint32_t step, std::span<const std::byte> payload) {
    auto& to = peers_[static_cast<std::size_t>(peer)];
    queue(to, {.kind = FrameKind::data, .call = call_, .step = step, .payload_bytes = payload.size()}, payload);
    write_out(to);
}

std::vector<std::byte> Mesh::receive(int peer, std::uint32_t step, std::size_t bytes) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    for (;;) {
        read_in(from);
        judge();
        if (!from.inbox.empty()) {
            break;
        }
        if (from.left) {
            lost(peer, "left the group");
        }
        wait(peer, false);
    }
    progressed();
    auto frame = std::move(from.inbox.front());
    from.inbox.pop_front();
    if (frame.header.call != call_) {
        mismatch(peer, frame.header.call);
    }
    if (frame.header.step != step || frame.payload.size() != bytes) {
        fail({peer, name(peer) + " sent a frame out of order in " + text_of(call_)});
    }
    return std::move(frame.payload);
}

void Mesh::flush() {
    for (auto& peer : peers_) {
        while (!peer.outbox.empty()) {
            write_out(peer);
            judge();
            if (!peer.outbox.empty()) {
                wait(peer.rank, false);
            }
        }
    }
}

void Mesh::ring(const RingPlan& plan, std::span<std::byte> buffer, Reduction reduction, std::uint32_t first_step) {
    if (plan.sends.empty() && plan.receives.empty()) {
        return;
    }
    sender_->start({.buffer = buffer,
                    .plan = &plan,
                    .call = call_,
                    .first_step = first_step,
                    .deadline = Deadline{deadline_.at() + sender_grace}});
    for (std::size_t i = 0; i < plan.receives.size(); ++i) {
        const auto& segment = plan.receives[i];
        std::array<std::byte, frame_header_bytes> head{};
        read_ring(head);
        const auto header = decode(head, segment_bytes_);
        if (!header) {
            fail({previous(), name(previous()) + ": " + header.error().message});
        }
        if (header->call != call_) {
            mismatch(previous(), header->call);
        }
        if (header->kind != FrameKind::data || header->step != first_step + i ||
            header->payload_bytes != segment.bytes) {
            fail({previous(), name(previous()) + " sent a frame out of order in " + text_of(call_)});
        }
        const auto place = buffer.subspan(segment.offset, segment.bytes);
        if (segment.reduces) {
            scratch_.resize(std::max(scratch_.size(), segment.bytes));
            const auto incoming = std::span{scratch_}.first(segment.bytes);
            read_ring(incoming);
            reduce_into(place, incoming, reduction.type, reduction.op);
        } else {
            read_ring(place);
        }
        sender_->received(i + 1);
    }
    while (!sender_->finished()) {
        wait(next(), false);
    }
    judge();
}

GroupTraffic Mesh::traffic() const {
    return {.bytes_sent = counters_->sent.load(std::memory_order_relaxed),
            .bytes_received = counters_->received.load(std::memory_order_relaxed),
            .wait_seconds = static_cast<double>(wait_ns_.load(std::memory_order_relaxed)) * 1e-9,
            .cipher = cipher_};
}

} // namespace muster::collective
