/// Fuzzes what a peer says before it is admitted.
#include "collective/hello.h"

#include <algorithm>
#include <cstdlib>

using namespace muster::collective;

namespace {

void demand(bool holds) {
    if (!holds) {
        std::abort();
    }
}

bool printable(const std::string& text) {
    return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

void read_body(HelloKind kind, std::span<const std::byte> body) {
    if (kind == HelloKind::refusal) {
        if (const auto refusal = decode_refusal(body)) {
            demand(printable(refusal->text));
        }
        return;
    }
    if (const auto hello = decode_hello(body)) {
        demand(printable(hello->job) && printable(hello->plan_digest));
        const Hello ours{.job = "job-1", .generation = 3, .plan_digest = "cafe", .size = 4, .rank = 1, .peer_rank = 0};
        const auto verdict = compare(*hello, ours);
        // Whoever is admitted is another rank of this group.
        demand(!verdict.text.empty() ||
               (hello->rank >= 0 && hello->rank < ours.size && hello->rank != ours.rank && hello->job == ours.job));
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    if (bytes.size() < hello_head_bytes) {
        return 0;
    }
    const auto head = decode_head(bytes.first<hello_head_bytes>());
    const auto body = bytes.subspan(hello_head_bytes);
    if (head) {
        demand(head->body_bytes <= hello_body_bytes_max);
        read_body(head->kind, body);
    }
    for (const auto kind : {HelloKind::hello, HelloKind::refusal}) {
        read_body(kind, body);
    }
    return 0;
}
