#include "process_group/store_messages.h"

#include <gtest/gtest.h>

namespace muster::process_group {
namespace {

StoreHead head_of(const std::vector<std::byte>& bytes) {
    return decode_store_head(std::span{bytes}.first<store_head_bytes>()).value();
}

TEST(StoreMessages, requests_and_replies_round_trip) {
    const StoreRequest request{
        StoreRequestKind::set, std::chrono::milliseconds{1500}, {"key", std::string{"\0\xff binary", 9}, ""}};
    const auto bytes = encode(request).value();
    const auto decoded = decode_store_request(head_of(bytes), std::span{bytes}.subspan(store_head_bytes)).value();
    EXPECT_EQ(decoded.kind, request.kind);
    EXPECT_EQ(decoded.patience, request.patience);
    EXPECT_EQ(decoded.parts, request.parts);

    const StoreReply reply{StoreReplyKind::timed_out, {"missing"}};
    const auto answer = encode(reply).value();
    const auto read = decode_store_reply(head_of(answer), std::span{answer}.subspan(store_head_bytes)).value();
    EXPECT_EQ(read.kind, reply.kind);
    EXPECT_EQ(read.parts, reply.parts);
}

TEST(StoreMessages, wrong_heads_are_refused_before_a_body_is_read) {
    auto good = encode(StoreRequest{StoreRequestKind::get, {}, {"key"}}).value();
    const auto refused = [&](std::size_t at, int value) {
        auto bytes = good;
        bytes[at] = static_cast<std::byte>(value);
        const auto head = decode_store_head(std::span{bytes}.first<store_head_bytes>());
        return head ? "" : head.error().message;
    };
    EXPECT_NE(refused(0, 'X').find("not a Muster store"), std::string::npos);
    EXPECT_NE(refused(4, 99).find("version"), std::string::npos);
    EXPECT_NE(refused(20, 1).find("too long"), std::string::npos) << "2^32 bytes of body";
    EXPECT_NE(refused(15, 1).find("too long"), std::string::npos) << "2^24 parts";
}

TEST(StoreMessages, parts_must_fill_the_body) {
    const auto bytes = encode(StoreRequest{StoreRequestKind::set, {}, {"key", "value"}}).value();
    const auto body = std::span{bytes}.subspan(store_head_bytes);
    auto head = head_of(bytes);
    EXPECT_TRUE(decode_store_request(head, body).ok());
    EXPECT_FALSE(decode_store_request(head, body.first(body.size() - 1)).ok());
    head.parts = 1;
    EXPECT_FALSE(decode_store_request(head, body).ok());
    head.parts = 3;
    EXPECT_FALSE(decode_store_request(head, body).ok());
    head.parts = 2;
    head.kind = 200;
    EXPECT_FALSE(decode_store_request(head, body).ok());
    EXPECT_FALSE(decode_store_reply(head, body).ok());
}

TEST(StoreMessages, what_is_too_large_is_not_sent) {
    EXPECT_EQ(encode(StoreReply{StoreReplyKind::done, {std::string(store_body_bytes_max, 'x')}}).error().code,
              ErrorCode::resource_exhausted);
    EXPECT_EQ(encode(StoreReply{StoreReplyKind::done, std::vector<std::string>(store_parts_max + 1)}).error().code,
              ErrorCode::resource_exhausted);
}

} // namespace
} // namespace muster::process_group
