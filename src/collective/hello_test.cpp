#include "collective/hello.h"

#include <gtest/gtest.h>

#include <random>

namespace muster::collective {
namespace {

const Hello ours{.job = "job-1",
                 .generation = 3,
                 .plan_digest = "cafe",
                 .size = 4,
                 .rank = 1,
                 .peer_rank = 0,
                 .lane = 0,
                 .stripes = 2,
                 .segment_bytes = 100,
                 .tuning = 10};

Hello from_rank_0() {
    auto hello = ours;
    hello.rank = 0;
    hello.peer_rank = 1;
    return hello;
}

std::span<const std::byte> body_of(const std::vector<std::byte>& message) {
    return std::span{message}.subspan(hello_head_bytes);
}

Result<HelloHead> head_of(const std::vector<std::byte>& message) {
    return decode_head(std::span{message}.first<hello_head_bytes>());
}

TEST(Hello, comes_back_as_it_was) {
    const auto message = encode(HelloKind::welcome, ours);
    const auto head = head_of(message);
    ASSERT_TRUE(head);
    EXPECT_EQ(head->kind, HelloKind::welcome);
    EXPECT_EQ(head->body_bytes, body_of(message).size());
    EXPECT_EQ(decode_hello(body_of(message)).value(), ours);
}

TEST(Hello, carries_a_refusal) {
    const auto message = encode(Refusal{true, "not\x1b yet"});
    EXPECT_EQ(head_of(message)->kind, HelloKind::refusal);
    const auto refusal = decode_refusal(body_of(message));
    ASSERT_TRUE(refusal);
    EXPECT_TRUE(refusal->later);
    EXPECT_EQ(refusal->text, "not? yet");
}

TEST(Hello, names_another_protocol_version_and_other_protocols) {
    auto message = encode(HelloKind::hello, ours);
    message[4] = std::byte{9};
    EXPECT_EQ(head_of(message).error().message.find("speaks protocol version 9, this rank speaks 2; install"), 0U);
    message[0] = std::byte{'G'};
    EXPECT_NE(head_of(message).error().message.find("not a Muster"), std::string::npos);
}

TEST(Hello, refuses_a_long_body_before_it_is_read) {
    auto message = encode(HelloKind::hello, ours);
    message[11] = std::byte{0x7f};
    EXPECT_NE(head_of(message).error().message.find("at most 4096"), std::string::npos);
}

TEST(Hello, survives_cuts_and_random_bytes) {
    const auto message = encode(HelloKind::hello, ours);
    for (std::size_t length = 0; length < body_of(message).size(); ++length) {
        EXPECT_FALSE(decode_hello(body_of(message).first(length)));
    }
    std::mt19937 random{1};
    for (int i = 0; i < 20'000; ++i) {
        auto changed = message;
        changed[hello_head_bytes + random() % body_of(message).size()] = static_cast<std::byte>(random());
        (void)decode_hello(body_of(changed));
        (void)decode_refusal(body_of(changed));
    }
}

TEST(Hello, admits_a_peer_that_agrees_about_everything) {
    EXPECT_EQ(compare(from_rank_0(), ours).text, "");
}

TEST(Hello, names_what_differs) {
    struct Case {
        void (*change)(Hello&);
        const char* reason;
        bool later;
    };
    const Case cases[] = {
        {[](Hello& h) { h.job = "other"; }, "wrong job", false},
        {[](Hello& h) { h.generation = 2; }, "stale generation 2, the current one is 3", false},
        {[](Hello& h) { h.generation = 4; }, "generation 4 is not here yet", true},
        {[](Hello& h) { h.plan_digest = "beef"; }, "wrong plan digest", false},
        {[](Hello& h) { h.size = 5; }, "wrong number of ranks", false},
        {[](Hello& h) { h.peer_rank = 2; }, "wants rank 2, this is rank 1", false},
        {[](Hello& h) { h.rank = 4; }, "rank 4 cannot be a peer", false},
        {[](Hello& h) { h.rank = -1; }, "rank -1 cannot be a peer", false},
        {[](Hello& h) { h.rank = 1; }, "rank 1 cannot be a peer", false},
        {[](Hello& h) { h.segment_bytes = 1; }, "wrong segment_bytes", false},
        {[](Hello& h) { h.tuning = 1; }, "wrong tuning", false},
    };
    for (const auto& example : cases) {
        auto theirs = from_rank_0();
        example.change(theirs);
        const auto refusal = compare(theirs, ours);
        EXPECT_NE(refusal.text.find(example.reason), std::string::npos) << refusal.text;
        EXPECT_EQ(refusal.later, example.later) << refusal.text;
    }
}

} // namespace
} // namespace muster::collective
