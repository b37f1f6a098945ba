/// What the few files that include Asio share: the stream type, its making, its time limit, its errors in words.
/// Internal to link and rest; nobody else includes Asio.
#pragma once

#include "base/clock.h"
#include "tls/context.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <exception>
#include <memory>
#include <string>

namespace muster::link {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

/// TLS over TCP. Small writes are gathered into one record.
using TlsStream = boost::beast::ssl_stream<tcp::socket>;

/// Makes a stream; the stream keeps the context alive.
[[nodiscard]] TlsStream make_stream(tcp::socket socket, const tls::Context& context);

/// Says in words why `action` failed on this connection. Call it where the error appeared, before any suspension.
[[nodiscard]] std::string failure_text(TlsStream& stream, const error_code& error);

/// "address:port" of the other end, or "?" when it is gone already.
[[nodiscard]] std::string peer_text(const tcp::socket& socket);

/// Completion of a coroutine nobody waits for: logs the exception that ended it, if any.
void report_exception(const std::exception_ptr& thrown);

/// Closes a socket when its time is up. All calls come from the socket's strand.
class Watchdog {
public:
    explicit Watchdog(tcp::socket& socket);
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    /// Allows `limit` from now on, instead of what was allowed before.
    void arm(Duration limit);
    void disarm();
    /// Says whether it closed the socket.
    [[nodiscard]] bool fired() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace muster::link
