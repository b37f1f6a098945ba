/// WebSockets over our TLS streams, for the server and the client alike. Internal to link and rest (includes Asio).
#pragma once

#include "link/message_socket.h"
#include "link/tls_stream.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>

#include <functional>

namespace muster::link {

using UpgradeRequest = boost::beast::http::request<boost::beast::http::empty_body>;

/// Answers an upgrade request that was read from `stream` and runs the socket until it ends; `events` lives as long.
/// The stream's executor must be a strand. `ended`, when given, is called last. Returns at once.
void serve_websocket(TlsStream stream,
                     UpgradeRequest request,
                     std::shared_ptr<SocketEvents> events,
                     SocketLimits limits,
                     std::function<void()> ended);

/// Asks the server at the other end of `stream` (after the TLS handshake) for an upgrade and runs the socket.
/// A refusal arrives as on_closed without on_open.
void open_websocket(TlsStream stream,
                    const std::string& host,
                    std::shared_ptr<SocketEvents> events,
                    SocketLimits limits,
                    std::function<void()> ended);

} // namespace muster::link
