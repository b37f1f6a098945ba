#include "base/frame_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
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
    constexpr std::size_t header_bytes = 4;
    for (;;) {
        std::size_t wanted = header_bytes;
        if (buffer_.size() >= header_bytes) {
            std::uint32_t length = 0;
            for (std::size_t i = 0; i < header_bytes; ++i) {
                length |= static_cast<std::uint32_t>(static_cast<unsigned char>(buffer_[i])) << (8 * i);
            }
            if (length > frame_bytes_max) {
                return Error{ErrorCode::invalid_argument,
                             fmt::format("a frame of {} bytes, at most {} are allowed", length, frame_bytes_max)};
            }
            wanted += length;
            if (buffer_.size() == wanted) {
                Frame frame{buffer_.substr(header_bytes), std::move(attached_)};
                buffer_.clear();
                return std::optional{std::move(frame)};
            }
        }
        if (!wait_for(socket_.get(), POLLIN, deadline)) {
            return std::optional<Frame>{};
        }
        if (auto read = read_some(wanted - buffer_.size()); !read) {
            return std::move(read).error();
        }
    }
}

Result<void> FrameSocket::read_some(std::size_t bytes_max) {
    // Never beyond this frame: a read may join it with the next one, whose descriptor would then be taken for this
    // one's.
    std::array<char, 16'384> block; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recvmsg
    iovec part{.iov_base = block.data(), .iov_len = std::min(block.size(), bytes_max)};
    Control control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space.data();
    message.msg_controllen = control.space.size();
    const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return {};
    }
    if (size <= 0) {
        return gone();
    }
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            int descriptor = -1;
            std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
            attached_ = UniqueFd{descriptor};
        }
    }
    buffer_.append(block.data(), static_cast<std::size_t>(size));
    return {};
}

} // namespace muster
