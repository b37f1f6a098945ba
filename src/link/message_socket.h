/// A connection that carries texts both ways, as the control channel sees a WebSocket.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace muster::link {

/// Path of the control channel on the producer's port.
inline constexpr const char* control_path = "/muster/v1/control";

/// Limits of one socket.
struct SocketLimits {
    std::size_t text_bytes_max{256U << 10U}; ///< of one message, either way
    std::size_t queue_bytes_max{4U << 20U};  ///< waiting to be sent
    std::chrono::milliseconds closing_max{2000};
    /// Ends the connection when the other end's TCP stays silent, pinging it in between; 0: the owner watches itself.
    std::chrono::milliseconds idle_max{0};
};

/// One open connection. Safe from any thread; nothing blocks.
class MessageSocket {
public:
    virtual ~MessageSocket() = default;
    /// Queues a text. False when the connection is closed, the text too long, or the queue full.
    virtual bool send(std::string text) = 0;
    /// Ends the connection after what is queued or, when the other end does not take it, after closing_max.
    virtual void close(std::string reason) = 0;
    /// "address:port" of the other end.
    [[nodiscard]] virtual const std::string& peer() const = 0;
};

/// Who hears what happens on a socket: on_open, on_text..., on_closed, one at a time. Must not block.
class SocketEvents {
public:
    virtual ~SocketEvents() = default;
    virtual void on_open(std::shared_ptr<MessageSocket> socket) = 0;
    virtual void on_text(std::string text) = 0;
    virtual void on_closed(const std::string& reason) = 0;
};

} // namespace muster::link
