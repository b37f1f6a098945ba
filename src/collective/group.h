/// A mutual-TLS group of ranks and its collective operations. No torch.
///
/// What TS 28.105 6.2b.2.14 NOTE 2 calls the security tunnel between training functions. A member is admitted only
/// when its certificate chain, its SAN (= the roster's identity for that very rank), job, generation, plan digest
/// and protocol version all match; every refusal names its reason on both sides.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "tls/context.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::collective {

enum class ElementType { f32, f64, f16, bf16, i8, u8, i32, i64 };
enum class ReduceOp { sum, product, min, max };

[[nodiscard]] std::size_t size_of(ElementType type) noexcept;

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
    tls::Credentials credentials;                         ///< the job certificate; trust = the job CA only
    Duration operation_timeout{std::chrono::seconds{30}}; ///< each collective
    std::size_t segment_bytes{256U << 10U};
    std::size_t small_bytes_max{32U << 10U}; ///< up to here: recursive doubling or direct exchange
    /// Called from connect(), in its thread, with one sentence for each peer or stranger that was refused or that
    /// refused this rank: for the caller's log.
    std::function<void(const std::string&)> on_refusal{};
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

/// The group. Collectives are called by one thread at a time, in the same order on every rank; abort() and
/// traffic() from any thread. Results are the same bits on every rank.
/// Every operation throws GroupFailed, and std::invalid_argument when its arguments cannot be meant.
class Group {
public:
    /// Connects to all members over mutual TLS 1.3, taking their connections from `listener` (a listening socket that
    /// stays the caller's), until `deadline`. One rank needs neither.
    /// Errors: unavailable, permission_denied, deadline_exceeded, naming the rank and the reason.
    [[nodiscard]] static Result<std::unique_ptr<Group>>
    connect(GroupSpec spec, int listener, Dialer& dialer, Deadline deadline);
    virtual ~Group() = default;

    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;

    /// Reduces `data` (whole elements of `type`) in place over all ranks. f16 and bf16 are summed in f32.
    virtual void all_reduce(std::span<std::byte> data, ElementType type, ReduceOp op) = 0;
    /// Copies the root's `data` to every rank; all pass the same size.
    virtual void broadcast(std::span<std::byte> data, int root) = 0;
    /// Rank r contributes lengths[r] bytes; `output` holds all blocks in rank order. `input` may be empty and may not
    /// overlap `output` except as its own block.
    virtual void
    all_gather(std::span<const std::byte> input, std::span<std::byte> output, std::span<const std::size_t> lengths) = 0;
    /// Returns when every rank has called it.
    virtual void barrier() = 0;
    /// Ends every pending and later operation on all ranks within 100 ms, by shutting the sockets down. Any thread.
    virtual void abort(const std::string& reason) = 0;
    [[nodiscard]] virtual GroupTraffic traffic() const = 0;
};

} // namespace muster::collective
