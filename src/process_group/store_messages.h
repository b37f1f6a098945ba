/// The messages between the store at rank 0 and its clients: one request, one reply, over one TLS connection. Pure.
///
/// Both are a head of store_head_bytes and a body of parts, each a 32-bit length and that many bytes; integers are
/// little-endian. Lengths are checked before anything is read into memory.
#pragma once

#include "base/result.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::process_group {

/// Raised whenever the messages change.
inline constexpr std::uint16_t store_protocol_version = 1;
/// "MSTS", little-endian.
inline constexpr std::uint32_t store_magic = 0x5354534d;
inline constexpr std::size_t store_head_bytes = 24;
/// Of one request or reply. Keys and values of c10d are small; objects travel as tensors.
inline constexpr std::size_t store_body_bytes_max = 64U << 20U;
inline constexpr std::size_t store_parts_max = 65'536;

/// What a client asks, with its parts.
enum class StoreRequestKind : std::uint8_t {
    hello = 1,   ///< job, generation, rank, size -> session
    set,         ///< key, value, key, value, ...
    get,         ///< key, ... -> value, ...; waits until all are there
    add,         ///< key, decimal number -> decimal sum
    compare_set, ///< key, expected, wanted -> the value it has now
    remove,      ///< key -> "1" or "0"
    check,       ///< key, ... -> "1" when all are there, else "0"
    wait,        ///< key, ...; waits until all are there
    count,       ///< -> decimal number of keys
    append,      ///< key, value
    push,        ///< queue, value
    pop,         ///< queue -> value; waits for one, when the request may wait
    length,      ///< queue -> decimal number of values
    list,        ///< -> key, ...
};
inline constexpr auto last_store_request = StoreRequestKind::list;

enum class StoreReplyKind : std::uint8_t {
    done = 1,
    timed_out, ///< parts: the keys that were missing
    empty,     ///< nothing in that queue
    later,     ///< to a greeting: this store is of an earlier generation and will end; dial again
    refused,   ///< parts: why, in words
};
inline constexpr auto last_store_reply = StoreReplyKind::refused;

struct StoreRequest {
    StoreRequestKind kind{};
    std::chrono::milliseconds patience{0}; ///< how long the store may keep it waiting; 0: not at all
    std::vector<std::string> parts{};
};

struct StoreReply {
    StoreReplyKind kind{StoreReplyKind::done};
    std::vector<std::string> parts{};
};

/// The first bytes of either message, checked before its body is read.
struct StoreHead {
    std::uint8_t kind{};
    std::chrono::milliseconds patience{0};
    std::size_t parts{};
    std::size_t body_bytes{};
};

/// Errors: resource_exhausted, when it is larger than store_body_bytes_max or has more than store_parts_max parts.
[[nodiscard]] Result<std::vector<std::byte>> encode(const StoreRequest& request);
[[nodiscard]] Result<std::vector<std::byte>> encode(const StoreReply& reply);
/// Errors: invalid_argument, not a Muster store, another version, too long.
[[nodiscard]] Result<StoreHead> decode_store_head(std::span<const std::byte, store_head_bytes> bytes);
/// Errors: invalid_argument, an unknown kind, parts that do not fit the body.
[[nodiscard]] Result<StoreRequest> decode_store_request(const StoreHead& head, std::span<const std::byte> body);
/// Errors: as decode_store_request.
[[nodiscard]] Result<StoreReply> decode_store_reply(const StoreHead& head, std::span<const std::byte> body);

} // namespace muster::process_group
