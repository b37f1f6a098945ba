#include "collective/arguments.h"

#include "collective/element.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace muster::collective {
namespace {

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) {
    throw std::invalid_argument{fmt::format(text, std::forward<Args>(args)...)};
}

/// A sum that wraps around would let blocks lie outside of the buffer.
std::size_t total_of(const char* operation, std::span<const std::size_t> lengths) {
    std::size_t total = 0;
    for (const auto length : lengths) {
        if (length > SIZE_MAX - total) {
            refuse("{} with lengths that no memory holds", operation);
        }
        total += length;
    }
    return total;
}

} // namespace

void check_reduction(std::size_t bytes, ElementType type, ReduceOp op) {
    if (size_of(type) == 0 || bytes % size_of(type) != 0) {
        refuse("reduction of {} bytes, which are no whole elements of {}", bytes, name_of(type));
    }
    if (is_bitwise(op) && is_floating(type)) {
        refuse("{} of {}, which is no integer", name_of(op), name_of(type));
    }
}

void check_reducer(std::size_t bytes, const Reducer& reducer) {
    if (reducer.element_bytes == 0 || !reducer.combine) {
        refuse("a reducer without {}", reducer.combine ? "an element size" : "a function");
    }
    if (bytes % reducer.element_bytes != 0) {
        refuse("reduction of {} bytes, which are no whole elements of {} bytes", bytes, reducer.element_bytes);
    }
}

void check_wire(ElementType type, WireFormat wire) {
    if (wire != WireFormat::as_is && type != ElementType::f32) {
        refuse("only f32 can be rounded on the wire, not {}", name_of(type));
    }
}

void check_root(int root, int size) {
    if (root < 0 || root >= size) {
        refuse("root {} in a group of {}", root, size);
    }
}

void check_peer(int peer, int rank, int size) {
    if (peer < 0 || peer >= size || peer == rank) {
        refuse("rank {} cannot exchange with rank {} in a group of {}", rank, peer, size);
    }
}

void check_lengths(const char* operation, std::size_t bytes, std::span<const std::size_t> lengths, int size) {
    if (lengths.size() != static_cast<std::size_t>(size)) {
        refuse("{} with {} lengths for {} ranks", operation, lengths.size(), size);
    }
    const auto total = total_of(operation, lengths);
    if (bytes != total) {
        refuse("{} with {} bytes for all ranks, where the lengths say {}", operation, bytes, total);
    }
}

void check_blocks(
    const char* operation, std::size_t all, std::size_t own, std::span<const std::size_t> lengths, int rank, int size) {
    check_lengths(operation, all, lengths, size);
    if (own != lengths[static_cast<std::size_t>(rank)]) {
        refuse("{} with {} bytes for this rank, where the lengths say {}",
               operation,
               own,
               lengths[static_cast<std::size_t>(rank)]);
    }
}

void check_rooted(const char* operation,
                  std::size_t all,
                  std::size_t own,
                  std::span<const std::size_t> lengths,
                  int rank,
                  int size,
                  int root) {
    const auto total = total_of(operation, lengths);
    if (rank != root && all != 0) {
        refuse("{} with {} bytes for all ranks, which belong to the root alone", operation, all);
    }
    check_blocks(operation, rank == root ? all : total, own, lengths, rank, size);
}

void check_whole_blocks(std::span<const std::size_t> lengths, std::size_t element_bytes) {
    for (const auto bytes : lengths) {
        if (bytes % element_bytes != 0) {
            refuse("a block of {} bytes, which are no whole elements of {} bytes", bytes, element_bytes);
        }
    }
}

void check_own_block(std::size_t sent, std::size_t received) {
    if (sent != received) {
        refuse("all_to_all of {} bytes from this rank to itself, which expects {}", sent, received);
    }
}

void check_subgroup(std::span<const int> ranks, int rank, int size) {
    for (std::size_t i = 0; i < ranks.size(); ++i) {
        if (ranks[i] < 0 || ranks[i] >= size) {
            refuse("a sub-group with rank {} of a group of {}", ranks[i], size);
        }
        if (std::ranges::find(ranks.subspan(i + 1), ranks[i]) != ranks.end()) {
            refuse("a sub-group with rank {} twice", ranks[i]);
        }
    }
    if (std::ranges::find(ranks, rank) == ranks.end()) {
        refuse("a sub-group without this rank, {}", rank);
    }
}

std::uint64_t channel_id(std::uint64_t parent, const std::string& name, const std::vector<int>& mesh_ranks) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U; // FNV-1a
    const auto mix = [&hash](std::uint64_t value) {
        for (unsigned shift = 0; shift < 64; shift += 8) {
            hash = (hash ^ (value >> shift & 0xffU)) * 0x100000001b3U;
        }
    };
    mix(parent);
    for (const char c : name) {
        mix(static_cast<unsigned char>(c));
    }
    for (const int rank : mesh_ranks) {
        mix(static_cast<std::uint64_t>(rank));
    }
    return hash == 0 ? 1 : hash;
}

} // namespace muster::collective
