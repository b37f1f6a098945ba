/// Tuning: from which size on which way of reducing is the fastest, by measurement. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace muster::collective {

/// direct: everybody sends all to everybody; one step. doubling: exchanges over doubling distances; log2 steps.
/// ring: every byte passes every rank, twice; the least bytes.
enum class Path { direct, doubling, ring };

/// For groups of up to so many ranks: direct up to the first size, doubling up to the second, else the ring.
/// Operations that do not reduce go straight where all_reduce would not take the ring.
struct TuningRow {
    int ranks_max{};
    std::size_t direct_bytes_max{};
    std::size_t doubling_bytes_max{};
};

/// Rows with rising ranks_max; the last one is for all larger groups too. Must be the same on all ranks.
using Tuning = std::vector<TuningRow>;

/// The table as measured with `muster bench collectives --small SIZE` on 2, 4 and 8 ranks (docs/benchmarks.md).
[[nodiscard]] const Tuning& measured_tuning();
/// The ring above so many bytes, whatever was measured.
[[nodiscard]] Tuning ring_above(std::size_t bytes);
/// REQUIRES: not empty.
[[nodiscard]] Path path_for(const Tuning& tuning, int ranks, std::size_t bytes);
/// To compare with a peer's.
[[nodiscard]] std::uint64_t hash_of(const Tuning& tuning);

} // namespace muster::collective
