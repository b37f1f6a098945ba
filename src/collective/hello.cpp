#include "collective/hello.h"

#include "collective/packing.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::collective {
namespace {

constexpr std::size_t text_bytes_max = 1024;

std::vector<std::byte> with_head(HelloKind kind, const std::vector<std::byte>& body) {
    ByteWriter head;
    head.put(hello_magic);
    head.put(protocol_version);
    head.put(static_cast<std::uint16_t>(kind));
    head.put(static_cast<std::uint32_t>(body.size()));
    auto bytes = std::move(head).take();
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
}

Error malformed(std::string what) {
    return {ErrorCode::invalid_argument, std::move(what)};
}

/// What a peer said may reach a log: no control characters.
std::string printable(std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return text;
}

} // namespace

std::vector<std::byte> encode(HelloKind kind, const Hello& hello) {
    ByteWriter body;
    body.put(hello.generation);
    body.put(hello.size);
    body.put(hello.rank);
    body.put(hello.peer_rank);
    body.put(hello.lane);
    body.put(hello.stripes);
    body.put(hello.segment_bytes);
    body.put(hello.tuning);
    body.put_text(std::string_view{hello.job}.substr(0, text_bytes_max));
    body.put_text(std::string_view{hello.plan_digest}.substr(0, text_bytes_max));
    return with_head(kind, std::move(body).take());
}

std::vector<std::byte> encode(const Refusal& refusal) {
    ByteWriter body;
    body.put(static_cast<std::uint8_t>(refusal.later ? 1 : 0));
    body.put_text(std::string_view{refusal.text}.substr(0, text_bytes_max));
    return with_head(HelloKind::refusal, std::move(body).take());
}

Result<HelloHead> decode_head(std::span<const std::byte, hello_head_bytes> bytes) {
    ByteReader reader{bytes};
    const auto magic = reader.get<std::uint32_t>();
    const auto version = reader.get<std::uint16_t>();
    const auto kind = reader.get<std::uint16_t>();
    const auto body_bytes = reader.get<std::uint32_t>();
    if (magic != hello_magic) {
        return malformed("not a Muster data-plane peer (wrong first bytes)");
    }
    if (version != protocol_version) {
        return malformed(
            fmt::format("speaks protocol version {}, this rank speaks {}; install the same version on both",
                        version,
                        protocol_version));
    }
    if (kind < static_cast<std::uint16_t>(HelloKind::hello) || kind > static_cast<std::uint16_t>(HelloKind::refusal)) {
        return malformed(fmt::format("hello of unknown kind {}", kind));
    }
    if (body_bytes > hello_body_bytes_max) {
        return malformed(fmt::format("hello of {} bytes, at most {}", body_bytes, hello_body_bytes_max));
    }
    return HelloHead{static_cast<HelloKind>(kind), body_bytes};
}

Result<Hello> decode_hello(std::span<const std::byte> body) {
    ByteReader reader{body};
    Hello hello;
    hello.generation = reader.get<std::int64_t>();
    hello.size = reader.get<std::int32_t>();
    hello.rank = reader.get<std::int32_t>();
    hello.peer_rank = reader.get<std::int32_t>();
    hello.lane = reader.get<std::int32_t>();
    hello.stripes = reader.get<std::int32_t>();
    hello.segment_bytes = reader.get<std::uint64_t>();
    hello.tuning = reader.get<std::uint64_t>();
    hello.job = printable(reader.get_text());
    hello.plan_digest = printable(reader.get_text());
    if (!reader.complete()) {
        return malformed("malformed hello");
    }
    return hello;
}

Result<Refusal> decode_refusal(std::span<const std::byte> body) {
    ByteReader reader{body};
    Refusal refusal;
    refusal.later = reader.get<std::uint8_t>() == 1;
    refusal.text = printable(reader.get_text());
    if (!reader.complete()) {
        return malformed("malformed refusal");
    }
    return refusal;
}

Refusal compare(const Hello& theirs, const Hello& ours) {
    const auto differs = [](const char* what, const auto& they, const auto& we) {
        return Refusal{
            false,
            fmt::format("wrong {}: the peer has '{}', this rank has '{}'; give all ranks the same roster and "
                        "settings",
                        what,
                        they,
                        we)};
    };
    if (theirs.job != ours.job) {
        return differs("job", theirs.job, ours.job);
    }
    if (theirs.generation < ours.generation) {
        return {false,
                fmt::format("stale generation {}, the current one is {}; join with the current roster",
                            theirs.generation,
                            ours.generation)};
    }
    if (theirs.generation > ours.generation) {
        return {true, fmt::format("generation {} is not here yet, this is {}", theirs.generation, ours.generation)};
    }
    if (theirs.plan_digest != ours.plan_digest) {
        return differs("plan digest", theirs.plan_digest, ours.plan_digest);
    }
    if (theirs.size != ours.size) {
        return differs("number of ranks", theirs.size, ours.size);
    }
    if (theirs.peer_rank != ours.rank) {
        return {
            false,
            fmt::format("wants rank {}, this is rank {}; check the roster's addresses", theirs.peer_rank, ours.rank)};
    }
    if (theirs.rank < 0 || theirs.rank >= ours.size || theirs.rank == ours.rank) {
        return {false, fmt::format("rank {} cannot be a peer of rank {} of {}", theirs.rank, ours.rank, ours.size)};
    }
    if (theirs.stripes != ours.stripes) {
        return differs("number of stripes", theirs.stripes, ours.stripes);
    }
    if (theirs.lane < 0 || theirs.lane >= ours.stripes) {
        return {false, fmt::format("connection {} of {}", theirs.lane, ours.stripes)};
    }
    if (theirs.segment_bytes != ours.segment_bytes) {
        return differs("segment_bytes", theirs.segment_bytes, ours.segment_bytes);
    }
    if (theirs.tuning != ours.tuning) {
        return differs("tuning", theirs.tuning, ours.tuning);
    }
    return {};
}

} // namespace muster::collective
