/// Link: messages over one connection to one peer. Cuts them into frames, so that no message holds up another one for
/// longer than a frame takes.
#pragma once

#include "collective/connection.h"
#include "collective/frame.h"
#include "collective/message.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// Where a payload goes, and for whom.
struct Place {
    std::span<std::byte> bytes{};
    const Receiving* owner{};
};

/// What a link tells about the frames that arrive.
class FrameSink {
public:
    virtual ~FrameSink() = default;
    /// Where the payload of this data frame of `peer` goes; exactly as many bytes. None: not now, the link stops
    /// reading until read_in() is called again.
    virtual std::optional<Place> place_for(int peer, const FrameHeader& header) = 0;
    /// A data frame is complete at its place.
    virtual void data_arrived(int peer, const FrameHeader& header, const Place& place) = 0;
    /// A frame that is no data is complete.
    virtual void control_arrived(int peer, const FrameHeader& header, std::span<const std::byte> payload) = 0;
};

/// One thread at a time.
class Link {
public:
    /// A piece of a message is `frame_payload_max` bytes at most; a peer that sends longer ones has failed.
    Link(int peer, std::unique_ptr<Connection> connection, std::size_t frame_payload_max);

    /// Queues a message. `header` is that of its frames but for offset and payload_bytes. `sending` is told when it
    /// is done, `moved` counts its bytes as they go.
    void push(const FrameHeader& header, std::span<const std::byte> payload, Sending* sending, std::uint64_t* moved);
    /// The same with a payload that the link keeps.
    void push_owned(const FrameHeader& header, std::vector<std::byte> payload);
    /// Sends what the socket takes.
    void write_out();
    /// Reads until nothing is there, the sink says "not now", or about `budget` bytes were read.
    void read_in(FrameSink& sink, std::size_t budget);

    /// Forgets the messages of a group; a frame that is half sent is sent to its end from a copy. What is being
    /// received for it goes to `waste`.
    void drop_channel(std::uint64_t channel, std::span<std::byte> waste);
    /// The same for all groups.
    void drop_all(std::span<std::byte> waste);
    /// The caller lets go of a message: what is left of it is copied.
    void let_go(const Sending& sending);
    /// The caller lets go of a place.
    void let_go(const Receiving& receiving, std::span<std::byte> waste);

    /// Says goodbye and ends the sending direction.
    void finish();
    /// The same when everything was written or nothing more can be.
    void finish_unless_it_wants_write();

    [[nodiscard]] int peer() const { return peer_; }
    [[nodiscard]] Connection& connection() { return *connection_; }
    [[nodiscard]] const Connection& connection() const { return *connection_; }
    [[nodiscard]] bool wants_write() const { return wants_write_; }
    /// Why the last write failed; what the peer said before it went may still be there to be read. Empty: it did not.
    [[nodiscard]] const std::string& write_failure() const { return write_failure_; }
    /// True when there may be something to read that poll() does not tell of.
    [[nodiscard]] bool may_have_more() const { return may_have_more_ && !stalled_ && !ended(); }
    [[nodiscard]] bool stalled() const { return stalled_; }
    [[nodiscard]] bool idle_out() const { return queue_.empty(); }
    /// The peer said close_notify between two frames.
    [[nodiscard]] bool left() const { return left_; }
    /// Why nothing more comes; empty while all is well.
    [[nodiscard]] const std::string& broken() const { return broken_; }
    /// The peer sent what no member sends.
    void set_broken(std::string reason);
    [[nodiscard]] bool ended() const { return left_ || !broken_.empty(); }

private:
    struct Outgoing {
        FrameHeader header{};
        std::span<const std::byte> payload{};
        std::vector<std::byte> owned{};
        std::size_t sent{0}; ///< whole frames
        Sending* sending{};
        std::uint64_t* moved{};
    };
    /// The frame that is being written, always of the first message in the queue.
    struct Frame {
        std::size_t staged{0}; ///< bytes of staging_: header and first part
        std::size_t staged_done{0};
        std::size_t next{0}; ///< of the message's payload: next byte to write directly
        std::size_t end{0};  ///< of the message's payload: end of this frame
    };

    void begin_frame();
    void end_frame();
    [[nodiscard]] std::span<const std::byte> rest_of_frame() const;
    bool read_head();
    bool read_payload(FrameSink& sink);
    void note_end(IoStatus status);
    static void keep(Outgoing& message, std::size_t end);

    int peer_;
    std::unique_ptr<Connection> connection_;
    std::size_t frame_payload_max_;

    std::deque<Outgoing> queue_{};
    std::optional<Frame> frame_{};
    std::vector<std::byte> staging_;
    bool wants_write_{false};
    std::string write_failure_{};

    std::array<std::byte, frame_header_bytes> head_{};
    std::size_t head_done_{0};
    std::optional<FrameHeader> incoming_{};
    std::optional<Place> place_{};
    std::size_t place_done_{0};
    std::vector<std::byte> control_{};
    bool may_have_more_{true};
    bool stalled_{false};
    bool left_{false};
    std::string broken_{};
};

} // namespace muster::collective
