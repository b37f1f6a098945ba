/// What the ranks of a shipment say to each other, over the group's send and receive. For this folder's own use.
#pragma once

#include "collective/group.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace muster::shipping {

static_assert(std::endian::native == std::endian::little, "numbers travel as they lie in memory");

inline constexpr std::uint64_t talk_tag = 0x73686970'00000001;  ///< Demand, Offer, Verdict
inline constexpr std::uint64_t block_tag = 0x73686970'00000002; ///< the bytes
inline constexpr std::uint64_t sign_tag = 0x73686970'00000003;  ///< Sign
inline constexpr std::int64_t talk_version = 1;

/// Receiver to sender, first.
struct Demand {
    std::int64_t version{};
    std::int64_t bytes{}; ///< of the whole
    std::int64_t arrived{};
    std::int64_t block_bytes_max{};
};

/// Sender to receiver, then. With another version or other `bytes` than demanded nothing follows.
struct Offer {
    std::int64_t version{};
    std::int64_t bytes{};
    std::int64_t block_bytes{}; ///< of each block but the last
};

enum class Outcome : std::int64_t { verified, other_digest, no_room, not_written };

/// Receiver to sender, in the end.
struct Verdict {
    Outcome outcome{};
    std::array<char, 64> digest{}; ///< hex, filled up with zeros
};

/// Sender to all who wait, again and again.
enum class Sign : std::int64_t { under_way, done, refused };

template <typename T>
inline constexpr std::uint64_t tag_of = std::is_same_v<T, Sign> ? sign_tag : talk_tag;

/// Waits for a message. Throws collective::GroupFailed.
template <typename T>
T take(collective::Group& group, int from) {
    static_assert(std::is_trivially_copyable_v<T>);
    T message{};
    group.receive(std::as_writable_bytes(std::span{&message, 1}), from, tag_of<T>)->wait();
    return message;
}

/// Small messages are given to the connection at once. Throws collective::GroupFailed.
template <typename T>
void tell(collective::Group& group, int to, const T& message) {
    static_assert(std::is_trivially_copyable_v<T>);
    group.send(std::as_bytes(std::span{&message, 1}), to, tag_of<T>)->wait();
}

} // namespace muster::shipping
