#include "collective/ring.h"

#include "collective/element.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <vector>

namespace muster::collective {
namespace {

/// Receives that are under way at a time on each lane, and encoded pieces that wait to be sent.
constexpr std::size_t window = 4;

ElementType half_of(WireFormat wire) {
    return wire == WireFormat::bf16 ? ElementType::bf16 : ElementType::f16;
}

/// What one rank does in one ring operation. Receiving never waits for sending, so the ring cannot stand still.
class Ring {
public:
    Ring(Channel& channel, const RingPlan& plan, std::span<std::byte> buffer, const RingFlow& flow)
        : channel_{channel}, plan_{plan}, buffer_{buffer}, flow_{flow}, lanes_{static_cast<std::size_t>(
                                                                            channel.mesh().lanes())},
          incoming_(window * lanes_), outgoing_(window * lanes_) {}

    void run() {
        if (!plan_.receives.empty()) {
            channel_.grant_call(channel_.previous());
        }
        while (received_ < plan_.receives.size() || sent_ < plan_.sends.size()) {
            expect();
            send();
            if (received_ < plan_.receives.size()) {
                // While pieces wait to be encoded, room for them is as welcome as a piece that comes.
                const auto& next = incoming_[received_ % incoming_.size()].receiving;
                channel_.wait(channel_.previous(), [&] { return next.done() || can_send(); });
                if (next.done()) {
                    take();
                }
            } else {
                channel_.wait(channel_.next(), [&] { return sent_ == plan_.sends.size() || can_send(); });
            }
        }
        for (auto& slot : outgoing_) {
            channel_.wait(slot.sending, channel_.next());
        }
        for (auto& sending : direct_) {
            channel_.wait(sending, channel_.next());
        }
    }

private:
    struct Incoming {
        std::vector<std::byte> bytes{};
        Receiving receiving{};
    };
    struct Outgoing {
        std::vector<std::byte> bytes{};
        Sending sending{};
    };

    [[nodiscard]] bool encodes() const { return flow_.wire != WireFormat::as_is; }
    [[nodiscard]] std::size_t wire_bytes(std::size_t bytes) const { return encodes() ? bytes / 2 : bytes; }
    [[nodiscard]] Step step_of(std::size_t piece) const { return flow_.first_step + static_cast<Step>(piece); }
    [[nodiscard]] int lane_of(std::size_t piece) const { return static_cast<int>(piece % lanes_); }
    [[nodiscard]] std::span<std::byte> place_of(const RingSegment& segment) const {
        return buffer_.subspan(segment.offset, segment.bytes);
    }
    [[nodiscard]] bool can_send() const {
        return sent_ < plan_.sends.size() && plan_.sends[sent_].needs <= received_ &&
               (!encodes() || outgoing_[sent_ % outgoing_.size()].sending.done());
    }

    void expect() {
        while (expected_ < plan_.receives.size() && expected_ - received_ < incoming_.size()) {
            const auto& segment = plan_.receives[expected_];
            auto& slot = incoming_[expected_ % incoming_.size()];
            auto place = place_of(segment);
            if (segment.reduces || encodes()) {
                slot.bytes.resize(wire_bytes(segment.bytes));
                place = slot.bytes;
            }
            channel_.receive(slot.receiving, channel_.previous(), step_of(expected_), place, lane_of(expected_));
            ++expected_;
        }
    }

    void send() {
        while (can_send()) {
            const auto place = place_of(plan_.sends[sent_]);
            const auto step = step_of(sent_);
            if (encodes()) {
                auto& slot = outgoing_[sent_ % outgoing_.size()];
                slot.bytes.resize(wire_bytes(place.size()));
                narrow(place, half_of(flow_.wire), slot.bytes);
                channel_.send_granted(slot.sending, channel_.next(), step, slot.bytes, lane_of(sent_));
            } else {
                while (!direct_.empty() && direct_.front().done()) {
                    direct_.pop_front();
                }
                channel_.send_granted(direct_.emplace_back(), channel_.next(), step, place, lane_of(sent_));
            }
            ++sent_;
        }
    }

    void take() {
        const auto& segment = plan_.receives[received_];
        auto& slot = incoming_[received_ % incoming_.size()];
        const auto place = place_of(segment);
        if (encodes()) {
            work_.resize(segment.bytes);
            widen(slot.bytes, half_of(flow_.wire), segment.reduces ? std::span{work_} : place);
            if (segment.reduces) {
                flow_.reduction->combine(place, work_);
            }
        } else if (segment.reduces) {
            flow_.reduction->combine(place, slot.bytes);
        }
        ++received_;
    }

    Channel& channel_;
    const RingPlan& plan_;
    std::span<std::byte> buffer_;
    const RingFlow& flow_;
    std::size_t lanes_;
    std::vector<Incoming> incoming_;
    std::vector<Outgoing> outgoing_;
    std::deque<Sending> direct_{}; ///< pieces that are sent from the buffer itself
    std::vector<std::byte> work_{};
    std::size_t expected_{0};
    std::size_t received_{0};
    std::size_t sent_{0};
};

} // namespace

void run_ring(Channel& channel, const RingPlan& plan, std::span<std::byte> buffer, const RingFlow& flow) {
    Ring{channel, plan, buffer, flow}.run();
}

} // namespace muster::collective
