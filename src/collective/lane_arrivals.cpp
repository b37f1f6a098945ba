/// Lane: what becomes of the frames that arrive.
#include "base/assert.h"
#include "collective/lane.h"

#include <algorithm>
#include <utility>

namespace muster::collective {
namespace {

// What one peer can make this rank keep, besides its credit. Its own, so that no peer is blamed for another.
constexpr std::size_t announced_max = 65536; // in all groups
constexpr std::size_t grants_max = 256;      // in one group, for messages that this rank has not sent yet

} // namespace

bool Lane::fits(const Receiving& receiving, int peer, const FrameHeader& header) {
    if (receiving.peer_ != any_peer && receiving.peer_ != peer) {
        return false;
    }
    if (is_transfer(header.call) != is_transfer(receiving.call_) || header.call.sequence != receiving.call_.sequence) {
        return false;
    }
    if (is_transfer(header.call)) {
        // Once it was matched it waits for that very message.
        return receiving.number_ ? receiving.from_ == peer && *receiving.number_ == header.call.detail
                                 : header.kind == FrameKind::announce || header.eager;
    }
    return header.step == receiving.step_;
}

Receiving* Lane::match(const Box& box, int peer, const FrameHeader& header) {
    const auto entry =
        std::ranges::find_if(box.posted, [&](const Receiving* receiving) { return fits(*receiving, peer, header); });
    return entry == box.posted.end() ? nullptr : *entry;
}

Place Lane::waste_for(const FrameHeader& header) {
    return {std::span{waste_}.first(header.payload_bytes), nullptr};
}

std::optional<Place> Lane::place_for(int peer, const FrameHeader& header) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    from.kept.clear();
    if (header.payload_bytes > header.message_bytes || header.offset > header.message_bytes - header.payload_bytes ||
        (header.eager && (header.payload_bytes != header.message_bytes || header.payload_bytes > eager_bytes_max))) {
        from.link->set_broken("sent a frame that is no part of its message");
        return {};
    }
    if (header.eager && !count_credit(peer, header)) {
        return {};
    }
    auto* box = box_of(peer, header.channel);
    if (box == nullptr) {
        return waste_for(header);
    }
    if (!is_transfer(header.call)) {
        check_call(*box, peer, header.call);
        if (header.call.sequence <= box->ended && box->clash) {
            return waste_for(header);
        }
        if (header.call.sequence <= box->ended) {
            from.link->set_broken("sent a frame out of order in " + text_of(header.call));
            return {};
        }
    }
    if (auto* receiving = match(*box, peer, header)) {
        if (!receiving->number_ && !bind(*box, *receiving, peer, header)) {
            return waste_for(header);
        }
        if (receiving->received_ != header.offset || header.message_bytes != receiving->place_.size()) {
            from.link->set_broken("sent a frame out of order in " + text_of(header.call));
            return {};
        }
        return Place{receiving->place_.subspan(header.offset, header.payload_bytes), receiving};
    }
    if (header.eager) {
        from.kept.resize(header.payload_bytes);
        return Place{from.kept, nullptr};
    }
    if (is_transfer(header.call)) {
        return waste_for(header); // The receive was cancelled after it was granted.
    }
    if (header.call != box->current || !streams(*box, peer, header.call)) {
        if (!box->clash) {
            from.link->set_broken("sent what it was not granted in " + text_of(header.call));
            return {};
        }
        return waste_for(header);
    }
    return {}; // Its place comes soon.
}

void Lane::data_arrived(int peer, const FrameHeader& header, const Place& place) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    auto* box = box_of(peer, header.channel);
    if (place.owner != nullptr && box != nullptr) {
        const auto entry = std::ranges::find(box->posted, place.owner);
        MUSTER_ASSERT(entry != box->posted.end());
        auto& receiving = **entry;
        receiving.received_ += header.payload_bytes;
        box->moved += header.payload_bytes;
        if (header.eager) {
            give_back(peer, header);
        }
        if (receiving.received_ == receiving.place_.size()) {
            finish(*box, receiving);
        }
        return;
    }
    const bool kept = header.eager && place.bytes.data() == from.kept.data() && box != nullptr;
    if (!kept) {
        if (header.eager) {
            give_back(peer, header);
        }
        return;
    }
    // It may have been asked for while it arrived.
    if (auto* receiving = match(*box, peer, header)) {
        give_back(peer, header);
        if (bind(*box, *receiving, peer, header)) {
            take(*box, *receiving, peer, header, from.kept);
        }
        return;
    }
    box->arrived.push_back({.peer = peer, .header = header, .payload = std::move(from.kept)});
    from.kept.clear();
}

/// Once for each eager frame. False when the peer has sent more than it may, which could fill this rank's memory.
bool Lane::count_credit(int peer, const FrameHeader& header) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    from.used += cost_of(header.payload_bytes);
    if (from.used > credit_bytes) {
        from.link->set_broken("sent more than its credit without being asked, in " + text_of(header.call));
        return false;
    }
    return true;
}

void Lane::give_back(int peer, const FrameHeader& header) {
    auto& to = peers_[static_cast<std::size_t>(peer)];
    to.owed += cost_of(header.payload_bytes);
    if (to.owed >= credit_bytes / 2 && !to.link->ended() && !torn_down_) {
        push_control(peer, {.kind = FrameKind::credit, .message_bytes = to.owed});
        to.used -= std::exchange(to.owed, 0);
    }
}

void Lane::control_arrived(int peer, const FrameHeader& header, std::span<const std::byte> payload) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    if (header.kind == FrameKind::credit) {
        if (header.message_bytes > credit_bytes - from.credit) {
            from.link->set_broken("gives more credit than it has taken");
            return;
        }
        from.credit += header.message_bytes;
        return;
    }
    if (header.kind == FrameKind::waiting) {
        return waiting_arrived(peer, header, payload);
    }
    auto* box = box_of(peer, header.channel);
    if (box == nullptr) {
        return;
    }
    switch (header.kind) {
    case FrameKind::announce:
        return announced(*box, peer, header);
    case FrameKind::grant:
        return granted(*box, peer, header);
    case FrameKind::abort:
        if (const auto failure = decode_failure(payload); !failure) {
            from.link->set_broken(failure.error().message);
        } else if (!box->told) {
            const bool known = failure->culprit >= 0 && static_cast<std::size_t>(failure->culprit) < peers_.size();
            box->told = Failure{known ? failure->culprit : -1, failure->text};
            troubled_.store(true, std::memory_order_release);
        }
        return;
    case FrameKind::data:
    case FrameKind::credit:
    case FrameKind::waiting:
        break;
    }
    MUSTER_ASSERT(false);
}

/// Whatever the group: whoever waits in one is not silent in another.
void Lane::waiting_arrived(int peer, const FrameHeader& header, std::span<const std::byte> payload) {
    auto& from = peers_[static_cast<std::size_t>(peer)];
    const auto target = decode_waiting(payload);
    if (!target) {
        from.link->set_broken(target.error().message);
        return;
    }
    const Waiting waiting{*target, header.call, std::chrono::steady_clock::now()};
    const bool in_a_strange_group = header.call.collective == Collective::none;
    const auto group = in_a_strange_group ? std::nullopt : std::optional{header.channel};
    if (*target != waits_no_more || from.waits_in == group) {
        from.waits_in = group;
        from.latest = waiting;
    }
    if (in_a_strange_group) {
        return;
    }
    if (auto* box = box_of(peer, header.channel)) {
        check_call(*box, peer, header.call);
        box->waiting[peer] = waiting;
    }
}

void Lane::announced(Box& box, int peer, const FrameHeader& header) {
    check_call(box, peer, header.call);
    if (!is_transfer(header.call) && header.call.sequence <= box.ended) {
        if (box.clash) {
            return;
        }
        link(peer).set_broken("announces a message out of order in " + text_of(header.call));
        return;
    }
    if (header.step == every_step) {
        return; // The whole call is granted in any case.
    }
    if (auto* receiving = match(box, peer, header)) {
        if (bind(box, *receiving, peer, header) && !granted_when_posted(header)) {
            auto grant = header;
            grant.kind = FrameKind::grant;
            push_control(peer, grant);
        }
        return;
    }
    auto& announced = peers_[static_cast<std::size_t>(peer)].announced;
    if (announced >= announced_max) {
        link(peer).set_broken("announces too many messages that nobody asks for");
        return;
    }
    ++announced;
    box.arrived.push_back({.peer = peer, .header = header, .announced = true});
}

void Lane::granted(Box& box, int peer, const FrameHeader& header) {
    const bool transfer = is_transfer(header.call);
    if (!transfer) {
        check_call(box, peer, header.call);
        if (header.call.sequence <= box.ended) {
            return;
        }
    }
    bool used = false;
    for (std::size_t i = 0; i < box.held.size();) {
        auto& held = box.held[i];
        const bool meant = held.peer == peer && held.header.call == header.call &&
                           (header.step == every_step || held.header.step == header.step);
        if (!meant) {
            ++i;
            continue;
        }
        used = true;
        if (held.owned.empty()) {
            link(peer).push(held.header, held.payload, held.sending, &box.moved);
        } else {
            link(peer).push_owned(held.header, std::move(held.owned));
        }
        peers_[static_cast<std::size_t>(peer)].dirty = true;
        box.held.erase(box.held.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (!transfer && (header.step == every_step || !used)) {
        if (std::cmp_greater_equal(std::ranges::count(box.grants, peer, &Grant::peer), grants_max)) {
            link(peer).set_broken("grants too many messages that nobody sends, in " + text_of(header.call));
            return;
        }
        box.grants.push_back({peer, header.call, header.step});
    }
}

} // namespace muster::collective
