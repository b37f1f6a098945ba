#include "process_group/store_messages.h"

#include "collective/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace muster::process_group {
namespace {

using collective::ByteReader;
using collective::ByteWriter;

constexpr std::size_t part_head_bytes = sizeof(std::uint32_t);

Error malformed(std::string what) {
    return {ErrorCode::invalid_argument, std::move(what)};
}

Result<std::vector<std::byte>>
encode(std::uint8_t kind, std::chrono::milliseconds patience, const std::vector<std::string>& parts) {
    std::size_t body_bytes = 0;
    for (const auto& part : parts) {
        body_bytes += part_head_bytes + part.size();
    }
    if (parts.size() > store_parts_max || body_bytes > store_body_bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} values of {} bytes are too much for one message of the store (at most {} and {})",
                                 parts.size(),
                                 body_bytes,
                                 store_parts_max,
                                 store_body_bytes_max)};
    }
    ByteWriter head;
    head.put(store_magic);
    head.put(store_protocol_version);
    head.put(kind);
    head.put(std::uint8_t{0});
    head.put(static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(patience.count(), 0, std::numeric_limits<std::uint32_t>::max())));
    head.put(static_cast<std::uint32_t>(parts.size()));
    head.put(static_cast<std::uint64_t>(body_bytes));
    auto bytes = std::move(head).take();
    bytes.reserve(bytes.size() + body_bytes);
    for (const auto& part : parts) {
        ByteWriter length;
        length.put(static_cast<std::uint32_t>(part.size()));
        const auto prefix = std::move(length).take();
        bytes.insert(bytes.end(), prefix.begin(), prefix.end());
        const auto* first = reinterpret_cast<const std::byte*>(part.data());
        bytes.insert(bytes.end(), first, first + part.size());
    }
    return bytes;
}

Result<std::vector<std::string>> decode_parts(const StoreHead& head, std::span<const std::byte> body) {
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < head.parts; ++i) {
        if (body.size() < part_head_bytes) {
            return malformed("a message of the store ends early");
        }
        ByteReader reader{body.first(part_head_bytes)};
        const std::size_t length = reader.get<std::uint32_t>();
        body = body.subspan(part_head_bytes);
        if (length > body.size()) {
            return malformed("a message of the store ends early");
        }
        parts.emplace_back(reinterpret_cast<const char*>(body.data()), length);
        body = body.subspan(length);
    }
    if (!body.empty()) {
        return malformed("a message of the store is longer than its parts");
    }
    return parts;
}

} // namespace

Result<std::vector<std::byte>> encode(const StoreRequest& request) {
    return encode(static_cast<std::uint8_t>(request.kind), request.patience, request.parts);
}

Result<std::vector<std::byte>> encode(const StoreReply& reply) {
    return encode(static_cast<std::uint8_t>(reply.kind), std::chrono::milliseconds{0}, reply.parts);
}

Result<StoreHead> decode_store_head(std::span<const std::byte, store_head_bytes> bytes) {
    ByteReader reader{bytes};
    const auto magic = reader.get<std::uint32_t>();
    const auto version = reader.get<std::uint16_t>();
    StoreHead head;
    head.kind = reader.get<std::uint8_t>();
    (void)reader.get<std::uint8_t>(); // reserved
    head.patience = std::chrono::milliseconds{reader.get<std::uint32_t>()};
    head.parts = reader.get<std::uint32_t>();
    const auto body_bytes = reader.get<std::uint64_t>();
    if (magic != store_magic) {
        return malformed("not a Muster store (wrong first bytes)");
    }
    if (version != store_protocol_version) {
        return malformed(
            fmt::format("speaks version {} of the store's protocol, this rank {}", version, store_protocol_version));
    }
    if (body_bytes > store_body_bytes_max || head.parts > store_parts_max) {
        return malformed(fmt::format("a message of {} parts and {} bytes is too long", head.parts, body_bytes));
    }
    head.body_bytes = body_bytes;
    return head;
}

Result<StoreRequest> decode_store_request(const StoreHead& head, std::span<const std::byte> body) {
    if (head.kind < 1 || head.kind > static_cast<std::uint8_t>(last_store_request)) {
        return malformed(fmt::format("request of unknown kind {} to the store", head.kind));
    }
    auto parts = decode_parts(head, body);
    if (!parts) {
        return parts.error();
    }
    return StoreRequest{static_cast<StoreRequestKind>(head.kind), head.patience, std::move(parts).value()};
}

Result<StoreReply> decode_store_reply(const StoreHead& head, std::span<const std::byte> body) {
    if (head.kind < 1 || head.kind > static_cast<std::uint8_t>(last_store_reply)) {
        return malformed(fmt::format("reply of unknown kind {} from the store", head.kind));
    }
    auto parts = decode_parts(head, body);
    if (!parts) {
        return parts.error();
    }
    return StoreReply{static_cast<StoreReplyKind>(head.kind), std::move(parts).value()};
}

} // namespace muster::process_group
