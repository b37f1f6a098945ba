#include "collective/link.h"

#include "base/assert.h"

#include <algorithm>

namespace muster::collective {
namespace {

/// The header and the first bytes of a payload share one TLS record.
constexpr std::size_t record_bytes = 16U << 10U;

} // namespace

Link::Link(int peer, std::unique_ptr<Connection> connection, std::size_t frame_payload_max)
    : peer_{peer}, connection_{std::move(connection)}, frame_payload_max_{frame_payload_max}, staging_(record_bytes) {}

void Link::push(const FrameHeader& header, std::span<const std::byte> payload, Sending* sending, std::uint64_t* moved) {
    queue_.push_back({.header = header, .payload = payload, .sending = sending, .moved = moved});
}

void Link::push_owned(const FrameHeader& header, std::vector<std::byte> payload) {
    queue_.push_back({.header = header, .owned = std::move(payload)});
    queue_.back().payload = queue_.back().owned;
}

void Link::begin_frame() {
    auto& message = queue_.front();
    const auto length = std::min(frame_payload_max_, message.payload.size() - message.sent);
    message.header.offset = message.sent;
    message.header.payload_bytes = static_cast<std::uint32_t>(length);
    const auto head = encode(message.header);
    const auto first = message.payload.subspan(message.sent, std::min(length, staging_.size() - head.size()));
    std::ranges::copy(first, std::ranges::copy(head, staging_.begin()).out);
    frame_ =
        Frame{.staged = head.size() + first.size(), .next = message.sent + first.size(), .end = message.sent + length};
}

void Link::end_frame() {
    auto& message = queue_.front();
    if (message.moved != nullptr) {
        *message.moved += frame_->end - message.sent;
    }
    message.sent = frame_->end;
    frame_.reset();
    if (message.sent == message.payload.size()) {
        if (message.sending != nullptr) {
            message.sending->done_.store(true, std::memory_order_release);
        }
        queue_.pop_front();
    } else if (queue_.size() > 1) {
        queue_.push_back(std::move(message)); // The others' turn.
        queue_.pop_front();
    }
}

std::span<const std::byte> Link::rest_of_frame() const {
    if (frame_->staged_done < frame_->staged) {
        return std::span{staging_}.subspan(frame_->staged_done, frame_->staged - frame_->staged_done);
    }
    return queue_.front().payload.subspan(frame_->next, frame_->end - frame_->next);
}

void Link::write_out() {
    wants_write_ = false;
    while (!ended() && write_failure_.empty() && (frame_ || !queue_.empty())) {
        if (!frame_) {
            begin_frame();
        }
        const auto rest = rest_of_frame();
        if (rest.empty()) {
            end_frame();
            continue;
        }
        const auto result = connection_->write(rest);
        if (result.status == IoStatus::want_write) {
            wants_write_ = true;
            return;
        }
        if (result.status != IoStatus::done) {
            write_failure_ = connection_->explain();
            return;
        }
        auto& done = frame_->staged_done < frame_->staged ? frame_->staged_done : frame_->next;
        done += result.bytes;
    }
}

void Link::read_in(FrameSink& sink, std::size_t budget) {
    stalled_ = false;
    const auto before = connection_->counters().received.load(std::memory_order_relaxed);
    while (!ended()) {
        if (!(incoming_ ? read_payload(sink) : read_head())) {
            return;
        }
        const auto now = connection_->counters().received.load(std::memory_order_relaxed);
        if (static_cast<std::size_t>(now - before) >= budget) {
            may_have_more_ = true;
            return;
        }
    }
}

bool Link::read_head() {
    const auto result = connection_->read(std::span{head_}.subspan(head_done_));
    if (result.status != IoStatus::done) {
        note_end(result.status);
        return false;
    }
    head_done_ += result.bytes;
    if (head_done_ < head_.size()) {
        return true;
    }
    head_done_ = 0;
    const auto header = decode(head_, frame_payload_max_);
    if (!header) {
        set_broken(header.error().message);
        return false;
    }
    incoming_ = *header;
    place_.reset();
    place_done_ = 0;
    if (header->kind != FrameKind::data) {
        control_.resize(header->payload_bytes);
        place_ = Place{control_, nullptr};
    }
    return true;
}

bool Link::read_payload(FrameSink& sink) {
    if (!place_) {
        place_ = sink.place_for(peer_, *incoming_);
        if (ended()) {
            return false;
        }
        if (!place_) {
            stalled_ = true;
            may_have_more_ = true;
            return false;
        }
        MUSTER_ASSERT(place_->bytes.size() == incoming_->payload_bytes);
    }
    while (place_done_ < place_->bytes.size()) {
        const auto result = connection_->read(place_->bytes.subspan(place_done_));
        if (result.status != IoStatus::done) {
            note_end(result.status);
            return false;
        }
        place_done_ += result.bytes;
    }
    const auto header = *incoming_;
    const auto place = *place_;
    incoming_.reset();
    place_.reset();
    if (header.kind == FrameKind::data) {
        sink.data_arrived(peer_, header, place);
    } else {
        sink.control_arrived(peer_, header, place.bytes);
    }
    return true;
}

void Link::note_end(IoStatus status) {
    may_have_more_ = false;
    if (status == IoStatus::want_read || status == IoStatus::want_write) {
        return;
    }
    const bool between_frames = !incoming_ && head_done_ == 0;
    if (status == IoStatus::closed && between_frames) {
        left_ = true;
    } else if (status == IoStatus::closed) {
        set_broken("connection closed in the middle of a frame");
    } else {
        set_broken(connection_->explain());
    }
}

void Link::set_broken(std::string reason) {
    if (broken_.empty()) {
        broken_ = std::move(reason);
    }
}

void Link::keep(Outgoing& message, std::size_t end) {
    if (message.owned.empty()) {
        // The part that was sent is not needed again, but offsets count from the message's begin.
        message.owned.assign(message.payload.begin(), message.payload.begin() + static_cast<std::ptrdiff_t>(end));
    } else {
        message.owned.resize(end);
    }
    message.payload = message.owned;
    message.sending = nullptr;
    message.moved = nullptr;
}

void Link::drop_channel(std::uint64_t channel, std::span<std::byte> waste) {
    for (std::size_t i = 0; i < queue_.size();) {
        auto& message = queue_[i];
        if (message.header.channel != channel || message.header.kind != FrameKind::data) {
            ++i;
        } else if (i == 0 && frame_) {
            keep(message, frame_->end); // The peer waits for the rest of this frame.
            ++i;
        } else {
            queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    if (incoming_ && incoming_->channel == channel && incoming_->kind == FrameKind::data && place_) {
        place_ = Place{waste.first(place_->bytes.size()), nullptr};
    }
}

void Link::drop_all(std::span<std::byte> waste) {
    if (frame_) {
        keep(queue_.front(), frame_->end);
        queue_.resize(1);
    } else {
        queue_.clear();
    }
    if (place_ && place_->owner != nullptr) {
        place_ = Place{waste.first(place_->bytes.size()), nullptr};
    }
}

void Link::let_go(const Sending& sending) {
    for (auto& message : queue_) {
        if (message.sending == &sending) {
            keep(message, message.payload.size());
        }
    }
}

void Link::let_go(const Receiving& receiving, std::span<std::byte> waste) {
    if (place_ && place_->owner == &receiving) {
        place_ = Place{waste.first(place_->bytes.size()), nullptr};
    }
}

void Link::finish() {
    connection_->finish();
}

void Link::finish_unless_it_wants_write() {
    if (!wants_write_) {
        finish();
    }
}

} // namespace muster::collective
