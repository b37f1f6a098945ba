/// The limits of muster-data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace muster::data {

/// Each can be set on the command line of muster-data.
struct Settings {
    std::size_t categories_max{256};           ///< different values of one category column
    std::size_t counted_max{1'000'000};        ///< different values that are counted to find the most frequent ones
    std::size_t characters_max{65'536};        ///< different characters of a text
    std::size_t columns_max{4096};             ///< columns of a source
    std::int64_t source_bytes_max{64LL << 30}; ///< of one source, uncompressed
    std::int64_t matrix_bytes_max{64LL << 30}; ///< of the encoded features of one source
    std::int64_t rows_max{1LL << 31};          ///< of one source
    std::int32_t block_bytes{1 << 20};         ///< read at once; the longest row must fit into one
    std::int64_t lock_wait_seconds{600};       ///< for another muster-data that writes to the same cache
    std::int64_t cache_bytes_max{16LL << 30};  ///< of all matrices; those in use and the newest stay whatever they take
};

} // namespace muster::data
