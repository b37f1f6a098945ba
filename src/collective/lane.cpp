/// Lane: sending and receiving.
#include "collective/lane.h"

#include "base/assert.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace muster::collective {

Sending::~Sending() {
    if (lane_ != nullptr && !done()) {
        lane_->let_go(*this);
    }
}

Receiving::~Receiving() {
    if (lane_ != nullptr && !done()) {
        lane_->let_go(*this);
    }
}

void Lane::send(Sending& sending,
                std::uint64_t channel,
                int peer,
                const Call& call,
                Step step,
                std::span<const std::byte> payload,
                Mode mode) {
    const std::scoped_lock lock{mutex_};
    MUSTER_ASSERT(sending.done());
    sending.done_.store(false, std::memory_order_relaxed);
    sending.lane_ = this;
    auto& box = own_box(channel);
    if (torn_down_ || box.dropped) {
        return; // Whoever waits for it learns of the failure.
    }
    FrameHeader header{.call = call, .step = step, .channel = channel, .message_bytes = payload.size()};
    if (is_transfer(call)) {
        header.call.detail = box.transfers++;
    }
    auto& to = peers_[static_cast<std::size_t>(peer)];
    if (has_grant(box, peer, call, step)) {
        to.link->push(header, payload, &sending, &box.moved);
    } else if (mode == Mode::unasked && payload.size() <= eager_bytes_max && to.credit >= cost_of(payload.size())) {
        to.credit -= cost_of(payload.size());
        header.eager = true;
        to.link->push(header, payload, &sending, &box.moved);
    } else {
        // Of a collective's large messages one announcement is enough: it lets a peer that calls something else know.
        const bool first = std::ranges::none_of(
            box.held, [&](const Held& held) { return held.peer == peer && !is_transfer(held.header.call); });
        box.held.push_back({.peer = peer, .header = header, .payload = payload, .sending = &sending});
        if (is_transfer(call) || (mode == Mode::unasked && payload.size() <= eager_bytes_max) || first) {
            auto announcement = header;
            announcement.kind = FrameKind::announce;
            announcement.step = mode == Mode::granted ? every_step : step;
            push_control(peer, announcement);
        }
    }
    to.dirty = true;
    flush();
}

bool Lane::has_grant(Box& box, int peer, const Call& call, Step step) {
    const auto entry = std::ranges::find_if(box.grants, [&](const Grant& grant) {
        return grant.peer == peer && grant.call == call && (grant.step == step || grant.step == every_step);
    });
    if (entry == box.grants.end()) {
        return false;
    }
    if (entry->step != every_step) {
        box.grants.erase(entry);
    }
    return true;
}

void Lane::receive(
    Receiving& receiving, std::uint64_t channel, int peer, const Call& call, Step step, std::span<std::byte> place) {
    const std::scoped_lock lock{mutex_};
    MUSTER_ASSERT(receiving.done());
    receiving.done_.store(false, std::memory_order_relaxed);
    receiving.lane_ = this;
    receiving.channel_ = channel;
    receiving.peer_ = peer;
    receiving.from_ = peer;
    receiving.call_ = call;
    receiving.step_ = step;
    receiving.place_ = place;
    receiving.received_ = 0;
    receiving.number_.reset();
    auto& box = own_box(channel);
    if (torn_down_ || box.dropped) {
        return;
    }
    if (!take_arrived(box, receiving)) {
        box.posted.push_back(&receiving);
        if (!is_transfer(call)) {
            const auto ahead = std::ranges::find(box.ahead, peer, &std::pair<int, Call>::first);
            if (ahead != box.ahead.end() && ahead->second.sequence > call.sequence) {
                set_clash(box, {.kind = Clash::Kind::went_on, .peer = peer, .theirs = ahead->second});
            }
        }
        if (!is_transfer(call) && place.size() > eager_bytes_max && !streams(box, peer, call)) {
            push_control(peer,
                         {.kind = FrameKind::grant,
                          .call = call,
                          .step = step,
                          .channel = channel,
                          .message_bytes = place.size()});
        }
    }
    resume_stalled();
    flush();
}

/// Looks for the message among those that came before it was expected. True when it is done.
bool Lane::take_arrived(Box& box, Receiving& receiving) {
    const auto entry = std::ranges::find_if(
        box.arrived, [&](const Arrived& arrived) { return fits(receiving, arrived.peer, arrived.header); });
    if (entry == box.arrived.end()) {
        return false;
    }
    const auto arrived = std::move(*entry);
    box.arrived.erase(entry);
    if (arrived.announced) {
        --peers_[static_cast<std::size_t>(arrived.peer)].announced;
    }
    if (!bind(box, receiving, arrived.peer, arrived.header)) {
        return false;
    }
    if (arrived.announced && granted_when_posted(arrived.header)) {
        return false;
    }
    if (arrived.announced) {
        auto grant = arrived.header;
        grant.kind = FrameKind::grant;
        push_control(arrived.peer, grant);
        return false;
    }
    give_back(arrived.peer, arrived.header);
    take(box, receiving, arrived.peer, arrived.header, arrived.payload);
    return true;
}

void Lane::take(
    Box& box, Receiving& receiving, int peer, const FrameHeader& header, std::span<const std::byte> payload) {
    if (!payload.empty()) {
        std::memcpy(receiving.place_.data(), payload.data(), payload.size());
    }
    receiving.from_ = peer;
    receiving.received_ = header.message_bytes;
    box.moved += payload.size();
    finish(box, receiving);
}

/// Makes the message the one that is expected. False, and a clash, when it is not as long as expected.
bool Lane::bind(Box& box, Receiving& receiving, int peer, const FrameHeader& header) {
    if (header.message_bytes != receiving.place_.size()) {
        set_clash(box,
                  {.kind = Clash::Kind::other_size,
                   .peer = peer,
                   .theirs = header.call,
                   .sent = header.message_bytes,
                   .expected = receiving.place_.size()});
        return false;
    }
    receiving.from_ = peer;
    if (is_transfer(header.call)) {
        receiving.number_ = header.call.detail;
    }
    return true;
}

void Lane::finish(Box& box, Receiving& receiving) {
    std::erase(box.posted, &receiving);
    receiving.done_.store(true, std::memory_order_release); // It may be gone from now on.
}

void Lane::grant_call(std::uint64_t channel, int peer, const Call& call) {
    const std::scoped_lock lock{mutex_};
    auto& box = own_box(channel);
    if (torn_down_ || box.dropped) {
        return;
    }
    box.streams.emplace_back(peer, call.sequence);
    push_control(peer, {.kind = FrameKind::grant, .call = call, .step = every_step, .channel = channel});
    flush();
}

void Lane::let_go(Sending& sending) {
    const std::scoped_lock lock{mutex_};
    if (sending.done()) {
        return;
    }
    for (auto& [channel, box] : boxes_) {
        for (auto& held : box.held) {
            if (held.sending == &sending) {
                held.owned.assign(held.payload.begin(), held.payload.end());
                held.payload = held.owned;
                held.sending = nullptr;
            }
        }
    }
    for (auto& peer : peers_) {
        if (peer.link != nullptr) {
            peer.link->let_go(sending);
        }
    }
}

void Lane::let_go(Receiving& receiving) {
    const std::scoped_lock lock{mutex_};
    if (receiving.done()) {
        return;
    }
    if (const auto entry = boxes_.find(receiving.channel_); entry != boxes_.end()) {
        std::erase(entry->second.posted, &receiving);
    }
    for (auto& peer : peers_) {
        if (peer.link != nullptr) {
            peer.link->let_go(receiving, waste_);
        }
    }
}

} // namespace muster::collective
