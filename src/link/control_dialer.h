/// Opens the control channel from the function's side: TCP, TLS 1.3, WebSocket.
#pragma once

#include "base/clock.h"
#include "link/message_socket.h"
#include "link/url.h"
#include "tls/context.h"

#include <memory>

namespace muster::link {

/// Dials producers. Owns one thread, on which all events of its sockets are called. Safe from any thread.
class ControlDialer {
public:
    explicit ControlDialer(SocketLimits limits);
    /// Ends all sockets, without on_closed.
    ~ControlDialer();
    ControlDialer(const ControlDialer&) = delete;
    ControlDialer& operator=(const ControlDialer&) = delete;

    /// Starts one attempt, whose peer must be a producer; at most `wait` until on_open. Returns at once.
    /// Every failure arrives as on_closed with cause and remedy.
    void dial(const Url& producer, const tls::Context& context, Duration wait, std::shared_ptr<SocketEvents> events);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace muster::link
