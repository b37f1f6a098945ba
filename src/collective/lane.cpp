/// Lane: which message goes where.
#include "collective/lane.h"

#include "base/assert.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace muster::collective {
namespace {

// What one peer can make this rank keep, besides its credit. Its own, so that no peer is blamed for another.
constexpr std::size_t groups_max = 1024;     // of which this rank knows nothing yet
constexpr std::size_t announced_max = 65536; // in all groups
constexpr std::size_t grants_max = 256;      // in one group, for messages that this rank has not sent yet
constexpr std::size_t closed_max = 4096;     // groups that are gone and may still be spoken of
constexpr std::size_t message_overhead = 64; // what an empty message costs of the credit

std::size_t cost_of(std::size_t payload_bytes) {
    return payload_bytes + message_overhead;
}

bool is_transfer(const Call& call) {
    return call.collective == Collective::transfer;
}

/// A large message of a collective needs no announcement to be granted; it gets one for the sake of its call and size.
bool granted_when_posted(const FrameHeader& header) {
    return !is_transfer(header.call) && header.message_bytes > eager_bytes_max;
}

} // namespace

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

std::optional<Waiting> Lane::waiting_elsewhere(int peer) {
    const std::scoped_lock lock{mutex_};
    return peers_[static_cast<std::size_t>(peer)].elsewhere;
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
    auto* box = box_of(peer, header.channel);
    if (box == nullptr) {
        return;
    }
    switch (header.kind) {
    case FrameKind::announce:
        return announced(*box, peer, header);
    case FrameKind::grant:
        return granted(*box, peer, header);
    case FrameKind::waiting:
        if (const auto target = decode_waiting(payload); !target) {
            from.link->set_broken(target.error().message);
        } else if (header.call.collective == Collective::none) {
            from.elsewhere = Waiting{*target, header.call, std::chrono::steady_clock::now()};
        } else {
            check_call(*box, peer, header.call);
            box->waiting[peer] = Waiting{*target, header.call, std::chrono::steady_clock::now()};
        }
        return;
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
        break;
    }
    MUSTER_ASSERT(false);
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
