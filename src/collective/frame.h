/// Frames: what travels on a connection between two ranks once both were admitted. Pure.
///
/// A header of 64 bytes, little-endian, then the payload. The header says which call of which collective the payload
/// belongs to, so that ranks that call different things find out and can say so, and how long the payload is, which
/// is checked before anything is read into memory.
#pragma once

#include "base/result.h"
#include "collective/group.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// data: a piece of a message. announce: "I hold this message back until you grant it". grant: "send what you hold
/// back of this call, I take it". credit: room for eager messages is free again. waiting: whom the sender waits
/// for, so that the one who is silent can be found. abort: the group has failed.
enum class FrameKind : std::uint8_t { data = 1, announce = 2, grant = 3, credit = 4, waiting = 5, abort = 6 };
enum class Collective : std::uint8_t {
    none = 0,
    all_reduce = 1,
    reduce = 2,
    reduce_scatter = 3,
    broadcast = 4,
    all_gather = 5,
    gather = 6,
    scatter = 7,
    all_to_all = 8,
    barrier = 9,
    transfer = 10, ///< point to point
};

/// One call of one collective, as every rank of a group must make it; or one message from rank to rank.
struct Call {
    Collective collective{Collective::none};
    std::optional<ElementType> element{};
    std::optional<ReduceOp> reduce{};
    std::uint64_t sequence{}; ///< counts the calls of a group from 1; of a transfer: its tag
    std::uint64_t bytes{};    ///< of the whole operation
    /// The root, a hash of the lengths, the wire format or the reducer's element size; of a transfer: its number
    /// among those of its sender in its group.
    std::uint64_t detail{};

    bool operator==(const Call&) const = default;
};

/// Says whether it is a message from rank to rank.
[[nodiscard]] inline bool is_transfer(const Call& call) {
    return call.collective == Collective::transfer;
}

/// Describes the call for people: "all_reduce #17 (sum of f32, 4096 bytes)".
[[nodiscard]] std::string text_of(const Call& call);
/// Returns a hash of block lengths for Call::detail (FNV-1a).
[[nodiscard]] std::uint64_t hash_of(std::span<const std::size_t> lengths);

/// Names a message within a call.
using Step = std::uint32_t;
/// In an announce or grant: the whole call.
inline constexpr Step every_step = UINT32_MAX;

struct FrameHeader {
    FrameKind kind{FrameKind::data};
    /// Of data: sent without a grant, out of the peer's credit; it may have to be kept until it is asked for.
    bool eager{false};
    Call call{};
    Step step{};
    std::uint64_t channel{};       ///< which group; 0 is the one of all ranks
    std::uint64_t message_bytes{}; ///< of the whole message; of credit: how many bytes
    std::uint64_t offset{};        ///< of data: where the payload lies in its message
    std::uint32_t payload_bytes{};

    bool operator==(const FrameHeader&) const = default;
};

inline constexpr std::size_t frame_header_bytes = 64;
inline constexpr std::size_t control_payload_bytes_max = 2048;

[[nodiscard]] std::array<std::byte, frame_header_bytes> encode(const FrameHeader& header);
/// Errors: invalid_argument for an unknown kind, collective, element type or operation, and for a payload of a data
/// frame above `data_bytes_max` or of another frame above control_payload_bytes_max.
[[nodiscard]] Result<FrameHeader> decode(std::span<const std::byte, frame_header_bytes> bytes,
                                         std::uint64_t data_bytes_max);

/// The payload of an abort frame: who failed, as far as known, and the whole story.
struct Failure {
    int culprit{-1};
    std::string text{};
};
[[nodiscard]] std::vector<std::byte> encode(const Failure& failure);
/// Control characters of the text become '?'. Errors: invalid_argument.
[[nodiscard]] Result<Failure> decode_failure(std::span<const std::byte> payload);

/// In a waiting frame: the sender waits for nobody any more. -1: it waits for whoever comes first.
inline constexpr int waits_no_more = -2;
/// The payload of a waiting frame: whom the sender waits for, as a rank of the mesh.
[[nodiscard]] std::vector<std::byte> encode_waiting(int target);
/// Errors: invalid_argument.
[[nodiscard]] Result<int> decode_waiting(std::span<const std::byte> payload);

} // namespace muster::collective
