#include "collective/frame.h"

#include "collective/element.h"
#include "collective/packing.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::collective {
namespace {

constexpr std::uint8_t absent = 0xff;
constexpr std::size_t failure_text_bytes_max = 1024;

const char* name_of(Collective collective) {
    switch (collective) {
    case Collective::none:
        return "no collective";
    case Collective::all_reduce:
        return "all_reduce";
    case Collective::reduce:
        return "reduce";
    case Collective::reduce_scatter:
        return "reduce_scatter";
    case Collective::broadcast:
        return "broadcast";
    case Collective::all_gather:
        return "all_gather";
    case Collective::gather:
        return "gather";
    case Collective::scatter:
        return "scatter";
    case Collective::all_to_all:
        return "all_to_all";
    case Collective::barrier:
        return "barrier";
    case Collective::transfer:
        return "transfer";
    }
    return "unknown collective";
}

/// "sum of f32", or what is known of a caller's own reduction.
std::string reduction_of(const Call& call) {
    if (!call.reduce || !call.element) {
        return fmt::format("own reduction of {}-byte elements", call.detail);
    }
    return fmt::format("{} of {}", collective::name_of(*call.reduce), collective::name_of(*call.element));
}

Error malformed(const std::string& what) {
    return {ErrorCode::invalid_argument, "malformed frame: " + what};
}

} // namespace

std::string text_of(const Call& call) {
    auto name = fmt::format("{} #{}", name_of(call.collective), call.sequence);
    switch (call.collective) {
    case Collective::all_reduce:
        return fmt::format("{} ({}, {} bytes)", name, reduction_of(call), call.bytes);
    case Collective::reduce:
        return fmt::format("{} ({}, {} bytes, root {})", name, reduction_of(call), call.bytes, call.detail);
    case Collective::reduce_scatter:
        return fmt::format("{} ({}, {} bytes, lengths {:016x})", name, reduction_of(call), call.bytes, call.detail);
    case Collective::broadcast:
        return fmt::format("{} (root {}, {} bytes)", name, call.detail, call.bytes);
    case Collective::all_gather:
    case Collective::gather:
    case Collective::scatter:
        return fmt::format("{} ({} bytes, lengths {:016x})", name, call.bytes, call.detail);
    case Collective::transfer:
        return fmt::format("transfer with tag {} ({} bytes)", call.sequence, call.bytes);
    case Collective::all_to_all:
    case Collective::barrier:
    case Collective::none:
        break;
    }
    return name;
}

std::uint64_t hash_of(std::span<const std::size_t> lengths) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const std::uint64_t length : lengths) {
        for (unsigned shift = 0; shift < 64; shift += 8) {
            hash = (hash ^ (length >> shift & 0xffU)) * 0x100000001b3U;
        }
    }
    return hash;
}

std::array<std::byte, frame_header_bytes> encode(const FrameHeader& header) {
    std::array<std::byte, frame_header_bytes> bytes{};
    std::size_t at = 0;
    const auto put = [&](auto value) {
        for (std::size_t i = 0; i < sizeof value; ++i) {
            bytes[at++] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xffU);
        }
    };
    put(static_cast<std::uint8_t>(header.kind));
    put(static_cast<std::uint8_t>(header.call.collective));
    put(header.call.element ? static_cast<std::uint8_t>(*header.call.element) : absent);
    put(header.call.reduce ? static_cast<std::uint8_t>(*header.call.reduce) : absent);
    put(header.step);
    put(header.payload_bytes);
    put(static_cast<std::uint32_t>(header.eager ? 1 : 0));
    put(header.channel);
    put(header.call.sequence);
    put(header.call.bytes);
    put(header.call.detail);
    put(header.message_bytes);
    put(header.offset);
    return bytes;
}

Result<FrameHeader> decode(std::span<const std::byte, frame_header_bytes> bytes, std::uint64_t data_bytes_max) {
    ByteReader reader{bytes};
    const auto kind = reader.get<std::uint8_t>();
    const auto collective = reader.get<std::uint8_t>();
    const auto element = reader.get<std::uint8_t>();
    const auto reduce = reader.get<std::uint8_t>();
    FrameHeader header;
    header.step = reader.get<std::uint32_t>();
    header.payload_bytes = reader.get<std::uint32_t>();
    const auto flags = reader.get<std::uint32_t>();
    header.channel = reader.get<std::uint64_t>();
    header.call.sequence = reader.get<std::uint64_t>();
    header.call.bytes = reader.get<std::uint64_t>();
    header.call.detail = reader.get<std::uint64_t>();
    header.message_bytes = reader.get<std::uint64_t>();
    header.offset = reader.get<std::uint64_t>();
    if (kind < static_cast<std::uint8_t>(FrameKind::data) || kind > static_cast<std::uint8_t>(FrameKind::abort)) {
        return malformed(fmt::format("kind {}", kind));
    }
    header.kind = static_cast<FrameKind>(kind);
    if (collective > static_cast<std::uint8_t>(Collective::transfer)) {
        return malformed(fmt::format("collective {}", collective));
    }
    header.call.collective = static_cast<Collective>(collective);
    if (element != absent) {
        if (element > static_cast<std::uint8_t>(ElementType::i64)) {
            return malformed(fmt::format("element type {}", element));
        }
        header.call.element = static_cast<ElementType>(element);
    }
    if (reduce != absent) {
        if (reduce > static_cast<std::uint8_t>(ReduceOp::bit_xor)) {
            return malformed(fmt::format("reduce operation {}", reduce));
        }
        header.call.reduce = static_cast<ReduceOp>(reduce);
    }
    if (flags > 1) {
        return malformed(fmt::format("flags {}", flags));
    }
    header.eager = flags == 1;
    const auto bytes_max = header.kind == FrameKind::data ? data_bytes_max : control_payload_bytes_max;
    if (header.payload_bytes > bytes_max) {
        return malformed(fmt::format("payload of {} bytes, at most {}", header.payload_bytes, bytes_max));
    }
    return header;
}

std::vector<std::byte> encode(const Failure& failure) {
    ByteWriter writer;
    writer.put(static_cast<std::int32_t>(failure.culprit));
    writer.put_text(std::string_view{failure.text}.substr(0, failure_text_bytes_max));
    return std::move(writer).take();
}

Result<Failure> decode_failure(std::span<const std::byte> payload) {
    ByteReader reader{payload};
    Failure failure;
    failure.culprit = reader.get<std::int32_t>();
    failure.text = reader.get_text();
    if (!reader.complete()) {
        return malformed("abort");
    }
    std::ranges::replace_if(
        failure.text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return failure;
}

std::vector<std::byte> encode_waiting(int target) {
    ByteWriter writer;
    writer.put(static_cast<std::int32_t>(target));
    return std::move(writer).take();
}

Result<int> decode_waiting(std::span<const std::byte> payload) {
    ByteReader reader{payload};
    const auto target = reader.get<std::int32_t>();
    if (!reader.complete()) {
        return malformed("waiting");
    }
    return target;
}

} // namespace muster::collective
