/// Ring schedules: which bytes a rank sends and receives, in which order. Pure.
///
/// Rank r sends to r+1 and receives from r-1. A segment is forwarded as soon as it was received (and reduced), so
/// all edges are busy all the time. Source: ring all-reduce, Patarasuk and Yuan, JPDC 69 (2009) 117.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace muster::collective {

/// A range of the operation's buffer that travels in one frame.
struct RingSegment {
    std::size_t offset{};
    std::size_t bytes{};
    /// Of a segment to send: how many segments must have been received before.
    std::size_t needs{};
    /// Of a segment to receive: reduce into the buffer instead of replacing.
    bool reduces{};

    bool operator==(const RingSegment&) const = default;
};

/// What one rank does in one ring operation; the position in the list is the frame's step.
struct RingPlan {
    std::vector<RingSegment> sends;
    std::vector<RingSegment> receives;
};

/// Where a block lies.
struct Block {
    std::size_t offset{};
    std::size_t bytes{};
};

/// Splits `elements` of `element_bytes` into `size` blocks whose lengths differ by one element at most.
[[nodiscard]] std::vector<Block> even_blocks(std::size_t elements, std::size_t element_bytes, int size);
/// The blocks of an all_gather: lengths laid out one after the other.
[[nodiscard]] std::vector<Block> blocks_of(std::span<const std::size_t> lengths);

/// Reduce-scatter, then all-gather: block r+1 is complete at rank r after the first half.
/// `segment_bytes` is a multiple of the element's size.
[[nodiscard]] RingPlan ring_all_reduce(std::span<const Block> blocks, int rank, std::size_t segment_bytes);
/// Starts from block `own` at this rank, which is block own - 1 at the rank before.
[[nodiscard]] RingPlan ring_all_gather(std::span<const Block> blocks, int own, std::size_t segment_bytes);
[[nodiscard]] RingPlan ring_broadcast(std::size_t bytes, int size, int rank, int root, std::size_t segment_bytes);

} // namespace muster::collective
