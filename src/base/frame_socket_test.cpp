#include "base/frame_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

namespace muster {
namespace {

constexpr auto soon = std::chrono::seconds{10};

std::pair<FrameSocket, FrameSocket> connected() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return {FrameSocket{UniqueFd{ends[0]}}, FrameSocket{UniqueFd{ends[1]}}};
}

TEST(FrameSocket, carries_frames_of_every_size_in_order) {
    auto [left, right] = connected();
    const std::jthread sender{[&left = left] {
        for (const std::size_t size :
             {std::size_t{0}, std::size_t{1}, std::size_t{70'000}, FrameSocket::frame_bytes_max}) {
            ASSERT_TRUE(left.send(std::string(size, 'x'), Deadline::after(soon)));
        }
    }};
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{70'000}, FrameSocket::frame_bytes_max}) {
        auto frame = right.receive(Deadline::after(soon));
        ASSERT_TRUE(frame.ok() && frame->has_value());
        EXPECT_EQ((*frame)->text.size(), size);
    }
}

TEST(FrameSocket, passes_a_descriptor_with_its_frame) {
    auto [left, right] = connected();
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end{ends[0]};
    const UniqueFd write_end{ends[1]};
    ASSERT_TRUE(left.send("no descriptor", Deadline::after(soon)));
    ASSERT_TRUE(left.send("a pipe", Deadline::after(soon), write_end.get()));
    auto plain = right.receive(Deadline::after(soon));
    auto carrying = right.receive(Deadline::after(soon));
    ASSERT_TRUE(carrying.ok() && carrying->has_value());
    EXPECT_EQ((*carrying)->text, "a pipe");
    ASSERT_TRUE((*carrying)->descriptor.valid());
    EXPECT_EQ(::write((*carrying)->descriptor.get(), "y", 1), 1);
    char byte = 0;
    EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
}

TEST(FrameSocket, refuses_what_is_too_long_and_notices_the_end) {
    auto [left, right] = connected();
    EXPECT_EQ(left.send(std::string(FrameSocket::frame_bytes_max + 1, 'x'), Deadline::after(soon)).error().code,
              ErrorCode::resource_exhausted);
    ASSERT_EQ(::send(left.fd(), "\xff\xff\xff\xff", 4, 0), 4);
    EXPECT_EQ(right.receive(Deadline::after(soon)).error().code, ErrorCode::invalid_argument);
    auto [a, b] = connected();
    { const FrameSocket closed = std::move(a); }
    EXPECT_EQ(b.receive(Deadline::after(soon)).error().code, ErrorCode::unavailable);
    EXPECT_FALSE(b.send("x", Deadline::after(soon)).ok());
}

TEST(FrameSocket, waits_no_longer_than_the_deadline) {
    auto [left, right] = connected();
    EXPECT_FALSE(right.receive(Deadline::after(std::chrono::milliseconds{1}))->has_value());
    Result<void> sent;
    while (sent) { // nobody reads: the buffer fills
        sent = left.send(std::string(100'000, 'x'), Deadline::after(std::chrono::milliseconds{1}));
    }
    EXPECT_EQ(sent.error().code, ErrorCode::deadline_exceeded);
}

} // namespace
} // namespace muster
