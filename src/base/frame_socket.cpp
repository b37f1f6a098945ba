#include "base/frame_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

namespace muster {
namespace {

Error gone() {
    return {ErrorCode::unavailable, "the other side of the socket is gone"};
}

/// Waits for `events`. False when the deadline has passed.
bool wait_for(int fd, short events, const Deadline& deadline) {
    for (;;) {
        pollfd entry{.fd = fd, .events = events, .revents = 0};
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready > 0) {
            return true;
        }
        if (ready == 0 || errno != EINTR) {
            return false;
        }
    }
}

union Control {
    cmsghdr header;
    std::array<char, CMSG_SPACE(sizeof(int))> space;
};

} // namespace

Result<void> FrameSocket::send(std::string_view text, Deadline deadline, int descriptor) {
    if (text.size() > frame_bytes_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("a frame of {} bytes, at most {} are allowed", text.size(), frame_bytes_max)};
    }
    const auto length = static_cast<std::uint32_t>(text.size());
    std::string bytes(sizeof length, '\0');
    for (std::size_t i = 0; i < sizeof length; ++i) {
        bytes[i] = static_cast<char>(length >> (8 * i) & 0xFFU);
    }
    bytes += text;
    for (std::size_t sent = 0; sent < bytes.size();) {
        iovec part{.iov_base = bytes.data() + sent, .iov_len = bytes.size() - sent};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        Control control{};
        if (descriptor >= 0 && sent == 0) {
            message.msg_control = control.space.data();
            message.msg_controllen = control.space.size();
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof descriptor);
            std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
        }
        const ssize_t size = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size >= 0) {
            sent += static_cast<std::size_t>(size);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(socket_.get(), POLLOUT, deadline)) {
                return Error{ErrorCode::deadline_exceeded, "the other side of the socket does not read"};
            }
        } else if (errno != EINTR) {
            return gone();
        }
    }
    return {};
}

Result<std::optional<Frame>> FrameSocket::receive(Deadline deadline) {
    for (;;) {
        if (buffer_.size() >= 4) {
            std::uint32_t length = 0;
            for (std::size_t i = 0; i < 4; ++i) {
                length |= static_cast<std::uint32_t>(static_cast<unsigned char>(buffer_[i])) << (8 * i);
            }
            if (length > frame_bytes_max) {
                return Error{ErrorCode::invalid_argument,
                             fmt::format("a frame of {} bytes, at most {} are allowed", length, frame_bytes_max)};
            }
            if (buffer_.size() >= 4 + static_cast<std::size_t>(length)) {
                Frame frame{buffer_.substr(4, length), std::move(attached_)};
                buffer_.erase(0, 4 + static_cast<std::size_t>(length));
                return std::optional{std::move(frame)};
            }
        }
        if (!wait_for(socket_.get(), POLLIN, deadline)) {
            return std::optional<Frame>{};
        }
        std::array<char, 16'384> block;
        iovec part{.iov_base = block.data(), .iov_len = block.size()};
        Control control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.space.data();
        message.msg_controllen = control.space.size();
        const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            return gone();
        }
        if (size < 0) {
            continue;
        }
        // The kernel never joins data of two messages with descriptors into one read, so one slot is enough.
        for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
            if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
                int descriptor = -1;
                std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
                attached_ = UniqueFd{descriptor};
            }
        }
        buffer_.append(block.data(), static_cast<std::size_t>(size));
    }
}

} // namespace muster
