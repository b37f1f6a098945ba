/// The hello: the first message in each direction of a connection, on which a peer is admitted or refused. Pure.
#pragma once

#include "base/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::collective {

/// Raised whenever frames or hello change.
inline constexpr std::uint16_t protocol_version = 2;
/// "MSTC", little-endian.
inline constexpr std::uint32_t hello_magic = 0x4354534d;
inline constexpr std::size_t hello_head_bytes = 12;
inline constexpr std::size_t hello_body_bytes_max = 4096;

enum class HelloKind : std::uint16_t {
    hello = 1,   ///< from the rank that dialled
    welcome = 2, ///< the other rank's hello, and consent
    refusal = 3, ///< why not
};

/// What both ranks must agree about.
struct Hello {
    std::string job{};
    std::int64_t generation{};
    std::string plan_digest{};
    std::int32_t size{};
    std::int32_t rank{};      ///< the speaker
    std::int32_t peer_rank{}; ///< whom the speaker means to talk to
    std::int32_t lane{};      ///< which of the connections of this pair of ranks
    std::int32_t stripes{1};  ///< how many there are
    std::uint64_t segment_bytes{};
    std::uint64_t tuning{}; ///< its hash

    bool operator==(const Hello&) const = default;
};

/// Why a peer is not admitted. `later`: the refusing rank has not reached this generation yet; ask again.
struct Refusal {
    bool later{};
    std::string text{};
};

/// The first bytes of a hello message, checked before its body is read.
struct HelloHead {
    HelloKind kind{};
    std::size_t body_bytes{};
};

[[nodiscard]] std::vector<std::byte> encode(HelloKind kind, const Hello& hello);
[[nodiscard]] std::vector<std::byte> encode(const Refusal& refusal);
/// Errors: invalid_argument, not a Muster peer, another protocol version, too long.
[[nodiscard]] Result<HelloHead> decode_head(std::span<const std::byte, hello_head_bytes> bytes);
/// Errors: invalid_argument.
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> body);
/// Errors: invalid_argument.
[[nodiscard]] Result<Refusal> decode_refusal(std::span<const std::byte> body);

/// Compares what a peer said with what we are: job, generation, plan digest, sizes, who it thinks we are.
/// Returns an empty text when all is well.
[[nodiscard]] Refusal compare(const Hello& theirs, const Hello& ours);

} // namespace muster::collective
