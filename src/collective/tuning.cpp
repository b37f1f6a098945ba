#include "collective/tuning.h"

#include "base/assert.h"

#include <algorithm>

namespace muster::collective {
namespace {

constexpr int direct_ranks_max = 4;

} // namespace

const Tuning& measured_tuning() {
    static const Tuning table{
        {.ranks_max = direct_ranks_max, .direct_bytes_max = 16U << 10U, .doubling_bytes_max = 16U << 10U},
        {.ranks_max = 1 << 20, .direct_bytes_max = 0, .doubling_bytes_max = 64U << 10U},
    };
    return table;
}

Tuning ring_above(std::size_t bytes) {
    return {{.ranks_max = direct_ranks_max, .direct_bytes_max = bytes, .doubling_bytes_max = bytes},
            {.ranks_max = 1 << 20, .direct_bytes_max = 0, .doubling_bytes_max = bytes}};
}

Path path_for(const Tuning& tuning, int ranks, std::size_t bytes) {
    MUSTER_ASSERT(!tuning.empty());
    const auto found = std::ranges::find_if(tuning, [&](const TuningRow& row) { return ranks <= row.ranks_max; });
    const auto& row = found == tuning.end() ? tuning.back() : *found;
    // Nothing is to be moved: fewest messages, then fewest steps.
    if (bytes <= row.direct_bytes_max && (bytes > 0 || ranks <= direct_ranks_max)) {
        return Path::direct;
    }
    return bytes <= row.doubling_bytes_max ? Path::doubling : Path::ring;
}

std::uint64_t hash_of(const Tuning& tuning) {
    std::uint64_t hash = 0xcbf29ce484222325U; // FNV-1a
    const auto mix = [&hash](std::uint64_t value) {
        for (unsigned shift = 0; shift < 64; shift += 8) {
            hash = (hash ^ (value >> shift & 0xffU)) * 0x100000001b3U;
        }
    };
    for (const auto& row : tuning) {
        mix(static_cast<std::uint64_t>(row.ranks_max));
        mix(row.direct_bytes_max);
        mix(row.doubling_bytes_max);
    }
    return hash;
}

} // namespace muster::collective
