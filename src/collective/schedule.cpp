#include "collective/schedule.h"

#include <algorithm>

namespace muster::collective {
namespace {

std::size_t wrap(int index, std::size_t size) {
    const int count = static_cast<int>(size);
    return static_cast<std::size_t>((index % count + count) % count);
}

void append_segments(std::vector<RingSegment>& list, Block block, std::size_t segment_bytes, bool reduces) {
    for (std::size_t done = 0; done < block.bytes; done += segment_bytes) {
        list.push_back(
            {.offset = block.offset + done, .bytes = std::min(segment_bytes, block.bytes - done), .reduces = reduces});
    }
}

/// Sends block `own`, then forwards everything received but the last block.
/// Block own - 1 - i comes as number i; the first `reducing` blocks are reduced.
RingPlan circulate(std::span<const Block> blocks, int own, int steps, int reducing, std::size_t segment_bytes) {
    RingPlan plan;
    if (steps == 0) {
        return plan;
    }
    append_segments(plan.sends, blocks[wrap(own, blocks.size())], segment_bytes, false);
    std::size_t forwarded = 0;
    for (int step = 0; step < steps; ++step) {
        forwarded = plan.receives.size();
        append_segments(plan.receives, blocks[wrap(own - 1 - step, blocks.size())], segment_bytes, step < reducing);
    }
    for (std::size_t i = 0; i < forwarded; ++i) {
        plan.sends.push_back({.offset = plan.receives[i].offset, .bytes = plan.receives[i].bytes, .needs = i + 1});
    }
    return plan;
}

} // namespace

std::vector<Block> even_blocks(std::size_t elements, std::size_t element_bytes, int size) {
    std::vector<Block> blocks;
    const auto count = static_cast<std::size_t>(size);
    std::size_t offset = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t bytes = (elements / count + (i < elements % count ? 1 : 0)) * element_bytes;
        blocks.push_back({offset, bytes});
        offset += bytes;
    }
    return blocks;
}

std::vector<Block> blocks_of(std::span<const std::size_t> lengths) {
    std::vector<Block> blocks;
    std::size_t offset = 0;
    for (const std::size_t bytes : lengths) {
        blocks.push_back({offset, bytes});
        offset += bytes;
    }
    return blocks;
}

RingPlan ring_all_reduce(std::span<const Block> blocks, int rank, std::size_t segment_bytes) {
    const int steps = static_cast<int>(blocks.size()) - 1;
    return circulate(blocks, rank, 2 * steps, steps, segment_bytes);
}

RingPlan ring_all_gather(std::span<const Block> blocks, int own, std::size_t segment_bytes) {
    return circulate(blocks, own, static_cast<int>(blocks.size()) - 1, 0, segment_bytes);
}

RingPlan ring_broadcast(std::size_t bytes, int size, int rank, int root, std::size_t segment_bytes) {
    RingPlan plan;
    if (rank != root) {
        append_segments(plan.receives, {0, bytes}, segment_bytes, false);
    }
    if ((rank + 1) % size != root) {
        append_segments(plan.sends, {0, bytes}, segment_bytes, false);
        for (std::size_t i = 0; rank != root && i < plan.sends.size(); ++i) {
            plan.sends[i].needs = i + 1;
        }
    }
    return plan;
}

} // namespace muster::collective
