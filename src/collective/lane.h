/// Lane: one connection to every peer, and the messages of all groups over them.
///
/// What may wait without a place. A message of up to eager_bytes_max travels at once, out of a credit that each pair
/// of ranks has in each direction, and is kept by the receiver until it is asked for. Everything else waits at the
/// sender until the receiver grants it, which it does when the place is there. So no message can stand in front of
/// another group's message for want of a place, whatever the order in which groups are used, and what a rank keeps
/// for others is bounded.
///
/// Threads. All state is under one mutex, which is held while a connection is read and written, but nothing that can
/// wait is done under it: sockets are non-blocking, and whoever has to wait polls without it. One thread at a time
/// polls, for all; the others wait for it on a condition variable.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "collective/link.h"
#include "collective/message.h"

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::collective {

inline constexpr std::size_t eager_bytes_max = 32U << 10U;
inline constexpr std::size_t credit_bytes = 256U << 10U;

/// What a message of so many bytes takes of the credit: an empty one costs something too.
[[nodiscard]] inline std::size_t cost_of(std::size_t payload_bytes) {
    constexpr std::size_t message_overhead = 64;
    return payload_bytes + message_overhead;
}

/// A large message of a collective needs no announcement to be granted; it gets one for the sake of its call and size.
[[nodiscard]] inline bool granted_when_posted(const FrameHeader& header) {
    return !is_transfer(header.call) && header.message_bytes > eager_bytes_max;
}

/// What a peer said of its group that does not fit what this rank is doing.
struct Clash {
    enum class Kind {
        other_call,
        other_size,
        out_of_order,
        went_on, ///< the peer is in a later call and has not sent what this rank still expects
    };
    Kind kind{Kind::other_call};
    int peer{};
    Call theirs{};
    Call ours{};              ///< other_call: what this rank calls, or called, in its place
    std::uint64_t sent{};     ///< other_size: bytes that the peer sends
    std::uint64_t expected{}; ///< other_size: bytes that this rank expects
};

/// What a peer said last about its own waiting.
struct Waiting {
    int target{-1};
    Call call{};
    SteadyTime at{};
};

class Lane final : public FrameSink {
public:
    /// `connections` by rank, none for this one. `on_done` is called when a message is done, in any thread, under the
    /// lane's mutex; may be empty.
    Lane(std::vector<std::unique_ptr<Connection>> connections,
         std::size_t frame_payload_max,
         std::function<void()> on_done);
    /// Says close_notify on every connection that still works.
    ~Lane() override;
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    // Messages. Peers are ranks of the mesh.

    /// unasked: small messages go at once. granted: it waits for the peer's grant, whatever its size; so the peer's
    /// grant, which comes in any case, is awaited, and does not reach a rank that has left.
    enum class Mode { unasked, granted };
    /// Begins to send. `call.collective` transfer: point to point.
    void send(Sending& sending,
              std::uint64_t channel,
              int peer,
              const Call& call,
              Step step,
              std::span<const std::byte> payload,
              Mode mode = Mode::unasked);
    /// Expects a message of place.size() bytes. Large ones of a collective are granted at once.
    void receive(
        Receiving& receiving, std::uint64_t channel, int peer, const Call& call, Step step, std::span<std::byte> place);
    /// Grants everything that `peer` sends in this call. REQUIRES: it is received in the order in which it is sent,
    /// without waiting for other ranks in between.
    void grant_call(std::uint64_t channel, int peer, const Call& call);
    void let_go(Sending& sending);
    void let_go(Receiving& receiving);

    // Groups.

    /// The group's next collective; frames of it that say something else are a clash.
    void begin_call(std::uint64_t channel, const Call& call);
    /// Errors as a clash: messages that nobody asked for.
    void end_call(std::uint64_t channel);
    [[nodiscard]] std::optional<Clash> clash(std::uint64_t channel);
    [[nodiscard]] std::optional<Failure> told(std::uint64_t channel);
    [[nodiscard]] std::optional<Waiting> waiting(std::uint64_t channel, int peer);
    /// The same of whatever group it spoke of last, even one that this rank is not in or has left.
    [[nodiscard]] std::optional<Waiting> latest_waiting(int peer);
    /// Counts the payload bytes moved for the group; for seeing that something moves.
    [[nodiscard]] std::uint64_t moved(std::uint64_t channel);
    void send_control(const FrameHeader& header, int peer, std::vector<std::byte> payload);
    /// Forgets the group's messages in both directions; what still comes is thrown away.
    void drop(std::uint64_t channel);
    /// The group is gone for good.
    void close(std::uint64_t channel);

    // Moving.

    /// Counts the changes; to be read before looking for what one waits for.
    [[nodiscard]] std::uint64_t changes() const { return changes_.load(std::memory_order_acquire); }
    /// Moves what can be moved, waiting until `until` for something to happen, unless changes() is another already.
    /// Returns how long it waited.
    Duration turn(SteadyTime until, std::uint64_t seen);
    /// Makes the threads in turn() look again.
    void wake();

    // Peers.

    /// True when told(), clash(), broken() or left() may have something to say. Any thread, without a lock.
    [[nodiscard]] bool troubled() const { return troubled_.load(std::memory_order_acquire); }
    [[nodiscard]] bool left(int peer);
    /// The first peer whose connection is broken, and why.
    [[nodiscard]] std::optional<std::pair<int, std::string>> broken();
    [[nodiscard]] SteadyTime last_received(int peer);
    /// Tells every peer of the failure and ends all connections. Waits for peers that are slow to take it `until`.
    void tear_down(const FrameHeader& header, const std::vector<std::byte>& payload, Deadline until);
    [[nodiscard]] const Connection* connection(int peer) const;

    // FrameSink, under the mutex.
    std::optional<Place> place_for(int peer, const FrameHeader& header) override;
    void data_arrived(int peer, const FrameHeader& header, const Place& place) override;
    void control_arrived(int peer, const FrameHeader& header, std::span<const std::byte> payload) override;

private:
    /// An eager message that came before it was asked for, or the announcement of one that waits to be granted.
    struct Arrived {
        int peer{};
        FrameHeader header{};
        std::vector<std::byte> payload{};
        bool announced{};
    };
    /// A message that waits for the peer's grant.
    struct Held {
        int peer{};
        FrameHeader header{};
        std::span<const std::byte> payload{};
        std::vector<std::byte> owned{};
        Sending* sending{};
    };
    struct Grant {
        int peer{};
        Call call{};
        Step step{};
    };
    /// One group, as far as this lane has to do with it.
    struct Box {
        int opener{any_peer}; ///< the peer that spoke of it first, until this rank does
        bool dropped{false};
        Call current{};
        Call before{};          ///< the call before the current one
        std::uint64_t ended{0}; ///< sequence of the last call that is over
        std::vector<Receiving*> posted{};
        std::deque<Arrived> arrived{};
        std::deque<Held> held{};
        std::vector<Grant> grants{};                          ///< that this rank was given
        std::vector<std::pair<int, std::uint64_t>> streams{}; ///< calls that this rank granted as a whole
        std::uint64_t transfers{0};                           ///< sent so far
        std::unordered_map<int, Waiting> waiting{};
        std::vector<std::pair<int, Call>> ahead{}; ///< what peers call that are further than this rank
        std::optional<Clash> clash{};
        std::optional<Failure> told{};
        std::uint64_t moved{0};
    };
    struct Peer {
        std::unique_ptr<Link> link{};
        bool dirty{false};                ///< has something new to write
        std::vector<std::byte> kept{};    ///< the eager message that is arriving without a place
        std::size_t credit{credit_bytes}; ///< that this rank may still send eagerly
        std::size_t owed{0};              ///< that this rank has to give back
        std::size_t used{0};              ///< that the peer has used and was not given back
        std::size_t announced{0};         ///< announcements of all groups that wait for a place
        std::size_t strange{0};           ///< groups that only this peer has spoken of yet
        std::optional<Waiting> latest{};
        std::optional<std::uint64_t> waits_in{}; ///< the group of `latest`; none: one that this rank is not in
    };

    // Matching (lane.cpp, lane_groups.cpp, lane_arrivals.cpp).
    Box* box_of(int peer, std::uint64_t channel);
    Box& own_box(std::uint64_t channel);
    [[nodiscard]] const Box* known_box(std::uint64_t channel) const;
    static bool streams(const Box& box, int peer, const Call& call);
    bool count_credit(int peer, const FrameHeader& header);
    void note_ahead(Box& box, int peer, const Call& call);
    Link& link(int peer) { return *peers_[static_cast<std::size_t>(peer)].link; }
    void push_control(int peer, FrameHeader header, std::vector<std::byte> payload = {});
    void waiting_arrived(int peer, const FrameHeader& header, std::span<const std::byte> payload);
    void announced(Box& box, int peer, const FrameHeader& header);
    void granted(Box& box, int peer, const FrameHeader& header);
    bool take_arrived(Box& box, Receiving& receiving);
    void take(Box& box, Receiving& receiving, int peer, const FrameHeader& header, std::span<const std::byte> payload);
    bool bind(Box& box, Receiving& receiving, int peer, const FrameHeader& header);
    void finish(Box& box, Receiving& receiving);
    void give_back(int peer, const FrameHeader& header);
    void forget(Box& box);
    static bool has_grant(Box& box, int peer, const Call& call, Step step);
    void check_call(Box& box, int peer, const Call& call);
    void set_clash(Box& box, const Clash& clash);
    static Receiving* match(const Box& box, int peer, const FrameHeader& header);
    static bool fits(const Receiving& receiving, int peer, const FrameHeader& header);
    Place waste_for(const FrameHeader& header);

    // Moving (lane_io.cpp).
    void flush();
    void resume_stalled();
    void changed();
    void stop_polling();
    bool say_last_words(Deadline until);
    Duration poll_and_move(std::unique_lock<std::mutex>& lock, SteadyTime until);
    void interrupt_poll();
    void look_for_trouble();

    const std::size_t frame_payload_max_;
    const std::function<void()> on_done_;
    UniqueFd wake_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<std::uint64_t> changes_{0};
    std::atomic<bool> troubled_{false};
    bool polling_{false}; ///< under mutex_, as everything below
    bool in_poll_{false}; ///< the thread that polls is waiting
    bool torn_down_{false};
    std::vector<Peer> peers_;
    std::unordered_map<std::uint64_t, Box> boxes_{};
    std::deque<std::uint64_t> closed_{};
    std::vector<std::byte> waste_;
    std::vector<pollfd> poll_entries_{};
};

} // namespace muster::collective
