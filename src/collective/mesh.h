/// Mesh: the connections of one rank as one thing that works or has failed.
///
/// Threads: the caller's, which runs the collectives and alone uses the pair connections and the incoming ring
/// connection; one RingSender, which alone uses the outgoing ring connection while a job runs. No lock is held around
/// TLS. abort() from a third thread records the reason and wakes the caller's thread, or, when no operation runs,
/// takes its place.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "collective/frame.h"
#include "collective/group.h"
#include "collective/join.h"
#include "collective/ring_sender.h"

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// How ring segments that reduce are combined.
struct Reduction {
    ElementType type{ElementType::f32};
    ReduceOp op{ReduceOp::sum};
};

/// See the file. Size >= 2. Everything but abort() and traffic() is for one thread at a time.
class Mesh {
public:
    /// `spec` gives names, rank, sizes and the operations' deadline. `counters` are those of the edges.
    Mesh(const GroupSpec& spec, Edges edges, std::shared_ptr<WireCounters> counters);
    /// Says close_notify on every connection that still works.
    ~Mesh();
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;

    /// Opens the next operation; its sequence number is added. It may last until `deadline`, or else the spec's
    /// operation_timeout. Throws GroupFailed when the group is dead.
    void begin(Call call, std::optional<Deadline> deadline);
    /// Closes it. Throws GroupFailed when the group was aborted meanwhile.
    void end();

    /// Queues a frame for a peer and sends what the socket takes.
    void send(int peer, std::uint32_t step, std::span<const std::byte> payload);
    /// Waits for the peer's frame of this step, of exactly `bytes`.
    [[nodiscard]] std::vector<std::byte> receive(int peer, std::uint32_t step, std::size_t bytes);
    /// Waits until all queued frames were given to the system.
    void flush();
    /// Runs a ring plan on `buffer`; `first_step` is the step of the plan's first frame.
    void ring(const RingPlan& plan, std::span<std::byte> buffer, Reduction reduction, std::uint32_t first_step);

    /// As Group::abort.
    void abort(const std::string& reason);
    /// Ends the group because this rank's operation was left in the middle. Never throws.
    void abandon() noexcept;
    [[nodiscard]] GroupTraffic traffic() const;
    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }

private:
    struct Frame {
        FrameHeader header{};
        std::vector<std::byte> payload{};
    };
    /// What a peer said last about its own waiting.
    struct Waiting {
        int target{-1};
        Call call{};
        SteadyTime at{};
    };
    struct Peer {
        int rank{};
        std::unique_ptr<Connection> connection{};
        std::vector<std::byte> outbox{};
        std::size_t outbox_done{0};
        std::deque<Frame> inbox{};
        std::array<std::byte, frame_header_bytes> head{};
        std::size_t head_done{0};
        std::optional<Frame> partial{};
        std::size_t partial_done{0};
        std::optional<Waiting> waiting{};
        bool left{false};     ///< said close_notify between two frames
        std::string broken{}; ///< why nothing more comes from it
        bool wants_write{false};
        bool hung_up{false}; ///< its end of the socket is closed; what it sent before may still be unread
        [[nodiscard]] bool ended() const { return left || !broken.empty(); }
    };
    enum class Owner { nobody, operation, aborter };
    struct State {
        Owner owner{Owner::nobody};
        std::optional<Failure> failure{};
        bool torn_down{false};
    };

    // Reading and writing (mesh_io.cpp).
    void queue(Peer& peer, const FrameHeader& header, std::span<const std::byte> payload);
    void write_out(Peer& peer);
    void read_in(Peer& peer);
    bool read_head(Peer& peer);
    bool read_payload(Peer& peer);
    void dispatch(Peer& peer, Frame frame);
    void note_end(Peer& peer, IoStatus status);
    void read_ring(std::span<std::byte> destination);
    void wait(int target, bool for_ring);
    void poll_once(bool for_ring);
    void announce(int target);
    void progressed();

    // Judging and ending (mesh_failure.cpp).
    void judge();
    [[noreturn]] void lost(int peer, const std::string& how);
    [[noreturn]] void timed_out(int target);
    [[noreturn]] void mismatch(int peer, const Call& theirs);
    [[noreturn]] void fail(Failure failure);
    void tear_down(const Failure& failure);
    [[nodiscard]] std::optional<Failure> recorded();
    [[nodiscard]] std::string name(int rank) const;
    [[nodiscard]] int silent_one(int target) const;

    [[nodiscard]] int next() const { return (rank_ + 1) % size_; }
    [[nodiscard]] int previous() const { return (rank_ + size_ - 1) % size_; }

    const int rank_;
    const int size_;
    const std::vector<Member> members_;
    const Duration operation_timeout_;
    const Duration announce_after_;
    const std::uint64_t pair_bytes_max_;
    const std::uint64_t segment_bytes_;
    std::shared_ptr<WireCounters> counters_;
    std::string cipher_;
    std::atomic<std::int64_t> wait_ns_{0};

    UniqueFd wake_;
    std::unique_ptr<Connection> ring_in_;
    std::unique_ptr<Connection> ring_out_;
    std::vector<Peer> peers_; ///< by rank; this rank's own entry has no connection
    std::unique_ptr<RingSender> sender_;
    std::vector<pollfd> poll_entries_{};
    std::vector<std::byte> scratch_{};

    std::mutex mutex_;
    State state_{}; ///< under mutex_

    Call call_{};
    std::uint64_t sequence_{0};
    SteadyTime began_{};
    Deadline deadline_;
    SteadyTime quiet_since_{};
    SteadyTime announced_at_{};
    bool announced_{false};
    std::optional<Failure> told_{}; ///< an abort frame that arrived
};

} // namespace muster::collective
