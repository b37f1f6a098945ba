/// What the arguments of a collective must satisfy, whatever the group. They throw std::invalid_argument.
#pragma once

#include "collective/group.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// Whole elements, and an operation that the type has.
void check_reduction(std::size_t bytes, ElementType type, ReduceOp op);
void check_reducer(std::size_t bytes, const Reducer& reducer);
void check_wire(ElementType type, WireFormat wire);
void check_root(int root, int size);
/// Another rank of the group.
void check_peer(int peer, int rank, int size);
/// As many lengths as ranks, which fill `bytes`.
void check_lengths(const char* operation, std::size_t bytes, std::span<const std::size_t> lengths, int size);
/// `all` is of all blocks, `own` of this rank's.
void check_blocks(
    const char* operation, std::size_t all, std::size_t own, std::span<const std::size_t> lengths, int rank, int size);
/// The same, with all blocks at the root only.
void check_rooted(const char* operation,
                  std::size_t all,
                  std::size_t own,
                  std::span<const std::size_t> lengths,
                  int rank,
                  int size,
                  int root);
void check_whole_blocks(std::span<const std::size_t> lengths, std::size_t element_bytes);
/// What this rank sends itself.
void check_own_block(std::size_t sent, std::size_t received);
/// Distinct ranks of a group of `size`, this one among them.
void check_subgroup(std::span<const int> ranks, int rank, int size);
/// Names a sub-group on the wire: never 0.
[[nodiscard]] std::uint64_t
channel_id(std::uint64_t parent, const std::string& name, const std::vector<int>& mesh_ranks) noexcept;

} // namespace muster::collective
