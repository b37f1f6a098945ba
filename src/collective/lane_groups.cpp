/// Lane: what belongs to which group.
#include "base/assert.h"
#include "collective/lane.h"

#include <algorithm>
#include <utility>

namespace muster::collective {
namespace {

constexpr std::size_t groups_max = 1024; // that one peer speaks of and this rank knows nothing of yet
constexpr std::size_t closed_max = 4096; // groups that are gone and may still be spoken of

} // namespace

void Lane::begin_call(std::uint64_t channel, const Call& call) {
    const std::scoped_lock lock{mutex_};
    auto& box = own_box(channel);
    box.before = std::exchange(box.current, call);
    for (const auto& arrived : box.arrived) {
        check_call(box, arrived.peer, arrived.header.call);
    }
    for (const auto& grant : box.grants) {
        check_call(box, grant.peer, grant.call);
    }
    for (const auto& [peer, waiting] : box.waiting) {
        check_call(box, peer, waiting.call);
    }
}

void Lane::end_call(std::uint64_t channel) {
    const std::scoped_lock lock{mutex_};
    auto& box = own_box(channel);
    box.ended = box.current.sequence;
    std::erase_if(box.grants, [&](const Grant& grant) { return grant.call.sequence <= box.ended; });
    box.streams.clear();
    for (const auto& arrived : box.arrived) {
        if (!is_transfer(arrived.header.call) && arrived.header.call.sequence <= box.ended) {
            set_clash(box, {.kind = Clash::Kind::out_of_order, .peer = arrived.peer, .theirs = arrived.header.call});
        }
    }
}

void Lane::check_call(Box& box, int peer, const Call& call) {
    if (is_transfer(call) || call.sequence == 0) {
        return;
    }
    if (call.sequence > box.current.sequence) {
        note_ahead(box, peer, call);
        return;
    }
    for (const auto* ours : {&box.current, &box.before}) {
        if (call.sequence == ours->sequence && call != *ours) {
            set_clash(box, {.peer = peer, .theirs = call, .ours = *ours});
        }
    }
}

/// A peer gives all its messages of a call to the connection before it begins the next one, so what is expected of it
/// now will never come.
void Lane::note_ahead(Box& box, int peer, const Call& call) {
    const auto entry = std::ranges::find(box.ahead, peer, &std::pair<int, Call>::first);
    if (entry == box.ahead.end()) {
        box.ahead.emplace_back(peer, call);
    } else {
        entry->second = call;
    }
    const bool expected = std::ranges::any_of(box.posted, [&](const Receiving* receiving) {
        return receiving->peer_ == peer && !is_transfer(receiving->call_) && receiving->call_.sequence < call.sequence;
    });
    if (expected) {
        set_clash(box, {.kind = Clash::Kind::went_on, .peer = peer, .theirs = call});
    }
}

bool Lane::streams(const Box& box, int peer, const Call& call) {
    return std::ranges::find(box.streams, std::pair{peer, call.sequence}) != box.streams.end();
}

void Lane::set_clash(Box& box, const Clash& clash) {
    if (!box.clash) {
        box.clash = clash;
    }
    troubled_.store(true, std::memory_order_release);
}

std::optional<Clash> Lane::clash(std::uint64_t channel) {
    const std::scoped_lock lock{mutex_};
    const auto* box = known_box(channel);
    return box == nullptr ? std::nullopt : box->clash;
}

std::optional<Failure> Lane::told(std::uint64_t channel) {
    const std::scoped_lock lock{mutex_};
    const auto* box = known_box(channel);
    return box == nullptr ? std::nullopt : box->told;
}

std::optional<Waiting> Lane::waiting(std::uint64_t channel, int peer) {
    const std::scoped_lock lock{mutex_};
    const auto* box = known_box(channel);
    if (box == nullptr || !box->waiting.contains(peer)) {
        return std::nullopt;
    }
    return box->waiting.at(peer);
}

std::optional<Waiting> Lane::latest_waiting(int peer) {
    const std::scoped_lock lock{mutex_};
    return peers_[static_cast<std::size_t>(peer)].latest;
}

std::uint64_t Lane::moved(std::uint64_t channel) {
    const std::scoped_lock lock{mutex_};
    const auto* box = known_box(channel);
    return box == nullptr ? 0 : box->moved;
}

void Lane::send_control(const FrameHeader& header, int peer, std::vector<std::byte> payload) {
    const std::scoped_lock lock{mutex_};
    if (!torn_down_) {
        push_control(peer, header, std::move(payload));
        flush();
    }
}

void Lane::push_control(int peer, FrameHeader header, std::vector<std::byte> payload) {
    auto& to = peers_[static_cast<std::size_t>(peer)];
    // A peer that does not read gets no second notice of waiting behind the first.
    if (header.kind == FrameKind::waiting && !to.link->idle_out()) {
        return;
    }
    to.link->push_owned(header, std::move(payload));
    to.dirty = true;
}

void Lane::forget(Box& box) {
    box.posted.clear();
    box.held.clear();
    box.grants.clear();
    box.streams.clear();
    for (const auto& arrived : box.arrived) {
        if (arrived.announced) {
            --peers_[static_cast<std::size_t>(arrived.peer)].announced;
        } else {
            give_back(arrived.peer, arrived.header);
        }
    }
    box.arrived.clear();
}

void Lane::drop(std::uint64_t channel) {
    const std::scoped_lock lock{mutex_};
    auto& box = own_box(channel);
    box.dropped = true;
    forget(box);
    for (auto& peer : peers_) {
        if (peer.link != nullptr) {
            peer.link->drop_channel(channel, waste_);
        }
    }
    if (!torn_down_) {
        resume_stalled();
        flush();
    }
}

void Lane::close(std::uint64_t channel) {
    drop(channel);
    const std::scoped_lock lock{mutex_};
    boxes_.erase(channel);
    closed_.push_back(channel);
    if (closed_.size() > closed_max) {
        closed_.pop_front();
    }
}

Lane::Box* Lane::box_of(int peer, std::uint64_t channel) {
    if (const auto entry = boxes_.find(channel); entry != boxes_.end()) {
        return entry->second.dropped ? nullptr : &entry->second;
    }
    if (std::ranges::find(closed_, channel) != closed_.end()) {
        return nullptr;
    }
    auto& strange = peers_[static_cast<std::size_t>(peer)].strange;
    if (strange >= groups_max) {
        link(peer).set_broken("speaks of too many groups");
        return nullptr;
    }
    ++strange;
    auto& box = boxes_[channel];
    box.opener = peer;
    return &box;
}

/// Of a group that this rank is in.
Lane::Box& Lane::own_box(std::uint64_t channel) {
    auto& box = boxes_[channel];
    if (box.opener != any_peer) {
        --peers_[static_cast<std::size_t>(std::exchange(box.opener, any_peer))].strange;
    }
    return box;
}

const Lane::Box* Lane::known_box(std::uint64_t channel) const {
    const auto entry = boxes_.find(channel);
    return entry == boxes_.end() ? nullptr : &entry->second;
}

} // namespace muster::collective
