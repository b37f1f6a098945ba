#include "collective/frame.h"

#include <gtest/gtest.h>

#include <random>

namespace muster::collective {
namespace {

const FrameHeader header{.kind = FrameKind::data,
                         .call = {.collective = Collective::all_reduce,
                                  .element = ElementType::bf16,
                                  .reduce = ReduceOp::max,
                                  .sequence = 0x1122334455667788,
                                  .bytes = std::uint64_t{5} << 40U,
                                  .detail = 9},
                         .step = 77,
                         .payload_bytes = 1000};

TEST(Frame, comes_back_as_it_was) {
    const auto back = decode(encode(header), 1000);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, header);
}

TEST(Frame, is_refused_before_too_much_is_read) {
    const auto refused = decode(encode(header), 999);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("payload of 1000 bytes, at most 999"), std::string::npos);
    auto control = header;
    control.kind = FrameKind::abort;
    control.payload_bytes = control_payload_bytes_max + 1;
    EXPECT_FALSE(decode(encode(control), std::uint64_t{1} << 40U));
}

TEST(Frame, refuses_what_it_does_not_know) {
    for (const std::size_t place : {0U, 1U, 2U, 3U}) {
        auto bytes = encode(header);
        bytes[place] = std::byte{0x55};
        EXPECT_FALSE(decode(bytes, 1000)) << "byte " << place;
    }
}

TEST(Frame, survives_random_bytes) {
    std::mt19937 random{1};
    for (int i = 0; i < 20'000; ++i) {
        std::array<std::byte, frame_header_bytes> bytes{};
        for (auto& byte : bytes) {
            byte = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 4);
        }
        const auto decoded = decode(bytes, 4096);
        if (decoded) {
            EXPECT_LE(decoded->payload_bytes, 4096U);
            EXPECT_EQ(encode(*decoded), bytes);
        }
        std::vector<std::byte> payload(random() % 40, bytes[5]);
        (void)decode_failure(payload);
        (void)decode_waiting(payload);
    }
}

TEST(Frame, carries_a_failure) {
    const auto back = decode_failure(encode(Failure{2, "rank 2 is\nsilent"}));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->culprit, 2);
    EXPECT_EQ(back->text, "rank 2 is?silent");
    auto cut = encode(Failure{2, "text"});
    cut.pop_back();
    EXPECT_FALSE(decode_failure(cut));
    EXPECT_LE(encode(Failure{2, std::string(100'000, 'x')}).size(), control_payload_bytes_max);
}

TEST(Frame, carries_a_target) {
    EXPECT_EQ(decode_waiting(encode_waiting(-1)).value(), -1);
    EXPECT_EQ(decode_waiting(encode_waiting(6)).value(), 6);
    EXPECT_FALSE(decode_waiting({}));
}

TEST(Frame, names_its_call) {
    Call call{.collective = Collective::all_reduce,
              .element = ElementType::f32,
              .reduce = ReduceOp::sum,
              .sequence = 17,
              .bytes = 4096};
    EXPECT_EQ(text_of(call), "all_reduce #17 (sum of f32, 4096 bytes)");
    call = {.collective = Collective::broadcast, .sequence = 3, .bytes = 8, .detail = 2};
    EXPECT_EQ(text_of(call), "broadcast #3 (root 2, 8 bytes)");
}

TEST(Frame, tells_lengths_apart) {
    const std::vector<std::size_t> a{1, 2};
    const std::vector<std::size_t> b{2, 1};
    EXPECT_NE(hash_of(a), hash_of(b));
}

} // namespace
} // namespace muster::collective
