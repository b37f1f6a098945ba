/// Writes the seeds of the corpora: what honest peers say, and a little of what others do.
#include "collective/frame.h"
#include "collective/hello.h"

#include <filesystem>
#include <fstream>
#include <iostream>

using namespace muster::collective;

namespace {

using Bytes = std::vector<std::byte>;

void add(Bytes& bytes, const FrameHeader& header, const Bytes& payload = {}) {
    const auto head = encode(header);
    bytes.insert(bytes.end(), head.begin(), head.end());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
}

void write(const std::filesystem::path& file, const Bytes& bytes) {
    std::ofstream out{file, std::ios::binary};
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out) {
        throw std::runtime_error{"cannot write " + file.string()};
    }
}

const Call reduce{.collective = Collective::all_reduce,
                  .element = ElementType::f32,
                  .reduce = ReduceOp::sum,
                  .sequence = 1,
                  .bytes = 80'000};
const Call tag_7{.collective = Collective::transfer, .sequence = 7, .bytes = 50'000};
const Call tag_8{.collective = Collective::transfer, .sequence = 8, .bytes = 64};

/// What a peer says to tests/fuzz/lane_fuzz.cpp; `script` is the rank's part. Short ones are changed more quickly.
Bytes conversation(unsigned script, bool with_large_messages) {
    Bytes bytes{static_cast<std::byte>(script)};
    add(bytes, {.eager = true, .call = reduce, .step = 1, .message_bytes = 100, .payload_bytes = 100}, Bytes(100));
    add(bytes, {.kind = FrameKind::grant, .call = reduce, .step = 0, .message_bytes = 40'000});
    if (with_large_messages) {
        add(bytes, {.call = reduce, .step = 0, .message_bytes = 40'000, .payload_bytes = 32'768}, Bytes(32'768));
        add(bytes,
            {.call = reduce, .step = 0, .message_bytes = 40'000, .offset = 32'768, .payload_bytes = 7'232},
            Bytes(7'232));
    }
    add(bytes, {.kind = FrameKind::announce, .call = tag_7, .message_bytes = 50'000});
    add(bytes, {.call = tag_7, .message_bytes = 50'000, .payload_bytes = 500}, Bytes(500));
    add(bytes, {.eager = true, .call = tag_8, .message_bytes = 64, .payload_bytes = 64}, Bytes(64));
    add(bytes, {.eager = true, .call = {.collective = Collective::barrier, .sequence = 1}, .channel = 9});
    const auto waiting = encode_waiting(1);
    add(bytes,
        {.kind = FrameKind::waiting, .call = reduce, .payload_bytes = static_cast<std::uint32_t>(waiting.size())},
        waiting);
    add(bytes, {.kind = FrameKind::credit, .message_bytes = 64});
    const auto failure = encode(Failure{0, "enough"});
    add(bytes,
        {.kind = FrameKind::abort, .channel = 9, .payload_bytes = static_cast<std::uint32_t>(failure.size())},
        failure);
    add(bytes, {.eager = true, .call = {.collective = Collective::barrier, .sequence = 2}});
    return bytes;
}

} // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::cerr << "usage: muster_fuzz_seeds CORPUS\n";
        return 4;
    }
    const std::filesystem::path corpus{arguments[1]};
    for (const unsigned script : {0U, 1U, 2U, 6U, 8U, 15U, 31U}) {
        write(corpus / "lane" / ("short-" + std::to_string(script)), conversation(script, false));
    }
    write(corpus / "lane" / "large", conversation(1, true));
    Bytes frame;
    add(frame,
        {.eager = true, .call = reduce, .step = 3, .channel = 9, .message_bytes = 4, .payload_bytes = 4},
        Bytes(4));
    write(corpus / "frame" / "data", frame);
    write(corpus / "frame" / "failure", encode(Failure{2, "rank 2 said stop"}));
    write(corpus / "frame" / "waiting", encode_waiting(3));
    const Hello hello{.job = "job-1", .generation = 3, .plan_digest = "cafe", .size = 4, .rank = 0, .peer_rank = 1};
    write(corpus / "hello" / "hello", encode(HelloKind::hello, hello));
    write(corpus / "hello" / "welcome", encode(HelloKind::welcome, hello));
    write(corpus / "hello" / "refusal", encode(Refusal{true, "not yet"}));
    return 0;
}
