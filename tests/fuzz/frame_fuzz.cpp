/// Fuzzes the frames' parsers: whatever is accepted must mean the same when it is written and read again.
#include "collective/frame.h"

#include <algorithm>
#include <cstdlib>

using namespace muster::collective;

namespace {

void demand(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void read_header(std::span<const std::byte> bytes) {
    if (bytes.size() < frame_header_bytes) {
        return;
    }
    const auto header = decode(bytes.first<frame_header_bytes>(), std::uint64_t{1} << 20U);
    if (!header) {
        demand(!header.error().message.empty());
        return;
    }
    demand(header->payload_bytes <= std::uint64_t{1} << 20U);
    demand(decode(encode(*header), std::uint64_t{1} << 20U).value() == *header);
    demand(!text_of(header->call).empty());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    read_header(bytes);
    if (const auto failure = decode_failure(bytes)) {
        demand(std::ranges::none_of(failure->text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
    }
    if (const auto target = decode_waiting(bytes)) {
        demand(decode_waiting(encode_waiting(*target)).value() == *target);
    }
    return 0;
}
