/// A mutual-TLS group of ranks and its collective operations. No torch.
///
/// What TS 28.105 6.2b.2.14 NOTE 2 calls the security tunnel between training functions. A member is admitted only
/// when its certificate chain, its SAN (= the roster's identity for that very rank), job, generation, plan digest
/// and protocol version all match; every refusal names its reason on both sides.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "collective/tuning.h"
#include "tls/context.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::collective {

enum class ElementType { f32, f64, f16, bf16, i8, u8, i16, i32, i64 };
/// bit_*: integers only.
enum class ReduceOp { sum, product, min, max, bit_and, bit_or, bit_xor };
/// How a reduction of f32 travels: as it is, or rounded to a half on the wire and summed in f32 all the same.
enum class WireFormat { as_is, f16, bf16 };

[[nodiscard]] std::size_t size_of(ElementType type) noexcept;

/// A caller's own reduction. combine(accumulator, incoming) computes accumulator = accumulator op incoming over whole
/// elements; it must be associative and commutative, and must not throw. Called in the thread of the operation.
struct Reducer {
    std::size_t element_bytes{};
    std::function<void(std::span<std::byte> accumulator, std::span<const std::byte> incoming)> combine{};
};

/// One rank as the roster names it.
struct Member {
    std::string name;                   ///< for people: the function's DN
    std::string identity;               ///< SAN URI its certificate must carry
    std::vector<std::string> addresses; ///< "host:port" or "[v6]:port"
};

/// How connections are made. The worker's sandbox forbids connect(): there the agent dials and passes descriptors.
class Dialer {
public:
    virtual ~Dialer() = default;
    /// Returns a connected stream socket. Errors: unavailable, deadline_exceeded, with the address and the reason.
    virtual Result<UniqueFd> dial(const std::string& address, Deadline deadline) = 0;
};

/// Dials with connect() from this process.
[[nodiscard]] std::unique_ptr<Dialer> tcp_dialer();

/// Everything a group is made of.
struct GroupSpec {
    std::string job;
    std::int64_t generation{};
    std::string plan_digest; ///< hex
    int rank{};
    std::vector<Member> members;
    tls::Credentials credentials; ///< the job certificate; trust = the job CA only
    Duration operation_timeout{
        std::chrono::seconds{30}}; ///< an operation in which nothing moves for so long has failed
    /// Large messages travel in pieces of this size, between which other groups' messages pass.
    std::size_t segment_bytes{128U << 10U};
    /// Which sizes go which way.
    Tuning tuning{measured_tuning()};
    /// Connections of each pair of ranks; each beyond the first has a thread of its own. For links faster than one
    /// core encrypts.
    int stripes{1};
    /// Called from connect(), in its thread, with one sentence for each peer or stranger that was refused or that
    /// refused this rank: for the caller's log.
    std::function<void(const std::string&)> on_refusal{};
    /// The same for what will be trouble soon: a certificate, this rank's or a peer's, that is about to expire.
    std::function<void(const std::string&)> on_warning{};
};

/// Raised by every operation of a group that has failed. what() names the culprit where known: rank, name,
/// collective, since when. The group is dead; a new generation makes a new one.
class GroupFailed : public std::runtime_error {
public:
    GroupFailed(const std::string& text, int culprit) : std::runtime_error{text}, culprit_{culprit} {}
    /// Rank that failed, or -1 when unknown.
    [[nodiscard]] int culprit() const noexcept { return culprit_; }

private:
    int culprit_;
};

/// Counters since the group was made.
struct GroupTraffic {
    std::int64_t bytes_sent{};
    std::int64_t bytes_received{};
    double wait_seconds{}; ///< blocked on peers inside collectives
    std::string cipher{};
};

/// What one rank knows of its connections with one peer.
struct EdgeMetrics {
    int peer{};
    std::string name{};    ///< the function's DN
    std::string address{}; ///< of the peer's end of the first connection
    std::int64_t bytes_sent{};
    std::int64_t bytes_received{};
    double wait_seconds{}; ///< spent waiting for this peer
    std::string cipher{};  ///< version and cipher suite, e.g. "TLSv1.3 TLS_AES_128_GCM_SHA256"
    WallTime certificate_expires{};
};

/// A send or receive under way. One thread at a time. Letting go of an unfinished receive cancels it; of an
/// unfinished send, keeps a copy of what is not sent yet.
class Transfer {
public:
    virtual ~Transfer() = default;
    /// True when the data has arrived, or was given to the connection. Moves what can be moved now, does not wait.
    /// Throws GroupFailed.
    [[nodiscard]] virtual bool done() = 0;
    /// Waits, for as long as the spec's operation_timeout at most. Throws GroupFailed.
    virtual void wait() = 0;
    /// The rank that sent or receives; of a receive from any rank only known once it is done.
    [[nodiscard]] virtual int peer() const = 0;
};

/// The group. Collectives of one group are called by one thread at a time, in the same order on every rank;
/// different groups, and send() and receive(), may be used at the same time. abort(), traffic() and edges() from any
/// thread. Results are the same bits on every rank.
///
/// Every operation throws GroupFailed, and std::invalid_argument when its arguments cannot be meant. Ranks that call
/// different things, or the same with other sizes, types or roots, all fail, and the text names both calls.
class Group {
public:
    static constexpr int any_rank = -1;

    /// Connects to all members over mutual TLS 1.3, taking their connections from `listener` (a listening socket that
    /// stays the caller's), until `deadline`. One rank needs neither.
    /// Errors: unavailable, permission_denied, deadline_exceeded, naming the rank and the reason.
    [[nodiscard]] static Result<std::unique_ptr<Group>>
    connect(GroupSpec spec, int listener, Dialer& dialer, Deadline deadline);
    virtual ~Group() = default;

    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;

    /// Reduces `data` (whole elements of `type`) in place over all ranks. f16 and bf16 are summed in f32. A `wire`
    /// other than as_is: f32 only, large data only.
    virtual void
    all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op, WireFormat wire = WireFormat::as_is) = 0;
    virtual void all_reduce(std::span<std::byte> data, const Reducer& reducer) = 0;
    /// As all_reduce, with the result at `root` only; the others' data stays as it is.
    virtual void reduce(std::span<std::byte> data, ElementType type, ReduceOp op, int root) = 0;
    /// `input` is one block of lengths[r] bytes for each rank r, in rank order; `output` becomes this rank's block,
    /// reduced over all ranks. It may not overlap `input` except as its own block.
    virtual void reduce_scatter(std::span<const std::byte> input,
                                std::span<std::byte> output,
                                std::span<const std::size_t> lengths,
                                ElementType type,
                                ReduceOp op) = 0;
    virtual void reduce_scatter(std::span<const std::byte> input,
                                std::span<std::byte> output,
                                std::span<const std::size_t> lengths,
                                const Reducer& reducer) = 0;
    /// Copies the root's `data` to every rank; all pass the same size.
    virtual void broadcast(std::span<std::byte> data, int root) = 0;
    /// Rank r contributes lengths[r] bytes; `output` holds all blocks in rank order. `input` may be empty and may not
    /// overlap `output` except as its own block.
    virtual void
    all_gather(std::span<const std::byte> input, std::span<std::byte> output, std::span<const std::size_t> lengths) = 0;
    /// As all_gather, with `output` at the root only; elsewhere it is empty.
    virtual void gather(std::span<const std::byte> input,
                        std::span<std::byte> output,
                        std::span<const std::size_t> lengths,
                        int root) = 0;
    /// Block r of the root's `input` becomes rank r's `output`. `input` is empty elsewhere.
    virtual void scatter(std::span<const std::byte> input,
                         std::span<std::byte> output,
                         std::span<const std::size_t> lengths,
                         int root) = 0;
    /// Block r of `input` (send_lengths[r] bytes) becomes this rank's block of rank r's `output`.
    virtual void all_to_all(std::span<const std::byte> input,
                            std::span<const std::size_t> send_lengths,
                            std::span<std::byte> output,
                            std::span<const std::size_t> receive_lengths) = 0;
    /// Returns when every rank has called it.
    virtual void barrier() = 0;

    /// Sends to one rank. `data` stays the caller's and unchanged until the transfer is done. Transfers of one pair
    /// of ranks with one tag arrive in order.
    [[nodiscard]] virtual std::unique_ptr<Transfer>
    send(std::span<const std::byte> data, int peer, std::uint64_t tag) = 0;
    /// Receives what a rank, or with any_rank whoever is first, sends with this tag: exactly as many bytes.
    [[nodiscard]] virtual std::unique_ptr<Transfer> receive(std::span<std::byte> data, int peer, std::uint64_t tag) = 0;

    /// A group of some of this group's ranks, over the same connections and threads. `ranks` are numbers of this
    /// group, in the order of the new one, and contain this rank. Needs no communication: its members call this with
    /// the same `name`, which is used once, and the same ranks, whenever they like. It may outlive this group. When
    /// a sub-group fails or is aborted, the others go on, unless a connection was lost.
    [[nodiscard]] virtual std::unique_ptr<Group> subgroup(const std::string& name, std::span<const int> ranks) = 0;

    /// Ends every pending and later operation of this group on all its ranks within 100 ms; of the group that
    /// connect() made: of all its sub-groups too, by shutting the sockets down. Any thread.
    virtual void abort(const std::string& reason) = 0;
    /// Of all groups that share the connections.
    [[nodiscard]] virtual GroupTraffic traffic() const = 0;
    /// One entry for each other rank, in the numbering of the group that connect() made.
    [[nodiscard]] virtual std::vector<EdgeMetrics> edges() const = 0;
};

} // namespace muster::collective
