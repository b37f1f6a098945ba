/// Operations that go straight from rank to rank, without a ring: small ones, and those whose blocks have one
/// destination anyway. Each runs within a call that was begun. They throw GroupFailed.
#pragma once

#include "collective/channel.h"
#include "collective/reduction.h"
#include "collective/schedule.h"

#include <cstddef>
#include <span>

namespace muster::collective {

/// Everybody sends everything to everybody; combined in the order of the ranks.
void exchange_and_reduce(Channel& channel, std::span<std::byte> data, const Reduction& reduction);
/// Exchange over doubling distances. Source: Thakur, Rabenseifner and Gropp, IJHPCA 19 (2005) 49, section 4.
void double_and_reduce(Channel& channel, std::span<std::byte> data, const Reduction& reduction);
/// Each rank's block goes straight to it, and is reduced there in the order of the ranks. Bytes sent: as a ring.
void reduce_blocks(Channel& channel,
                   std::span<const std::byte> input,
                   std::span<const Block> blocks,
                   std::span<std::byte> output,
                   const Reduction& reduction);
/// Partial results pass along the ranks from root + 1 to the root.
void reduce_along_chain(Channel& channel, std::span<std::byte> data, const Reduction& reduction, int root);
/// Whether a block without bytes is a message: when only sender and receiver know its length, it must be one, or
/// they could not find out that they disagree.
enum class EmptyBlocks { skipped, travel };
/// send[r] goes to rank r; receive[r] comes from rank r. This rank's own is copied.
void exchange_blocks(Channel& channel,
                     std::span<const std::span<const std::byte>> send,
                     std::span<const std::span<std::byte>> receive,
                     EmptyBlocks empty_blocks = EmptyBlocks::skipped);

} // namespace muster::collective
