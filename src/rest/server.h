/// The producer's one TLS port: HTTP/1.1 requests to a handler, WebSockets to the control channel.
#pragma once

#include "base/result.h"
#include "link/message_socket.h"
#include "rest/http.h"
#include "tls/context.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

namespace muster::rest {

/// Every limit of the port. Times are upper bounds for the peer, not for handlers.
struct ServerSettings {
    std::string address{"0.0.0.0"}; ///< IPv4 or IPv6 address to listen on
    std::uint16_t port{0};          ///< 0: any free one, see Server::port()

    std::size_t body_bytes_max{1U << 20U};
    std::size_t header_bytes_max{16U << 10U};
    std::size_t connections_max{2048};
    std::size_t handshakes_max{256}; ///< connections whose TLS handshake is not finished
    std::size_t requests_max{256};   ///< being handled or waiting for a handler thread; more are answered 503
    link::SocketLimits control{};

    std::chrono::milliseconds handshake_max{5'000};
    std::chrono::milliseconds idle_max{60'000};  ///< between requests
    std::chrono::milliseconds header_max{5'000}; ///< from a header's first byte to its last
    std::chrono::milliseconds body_max{30'000};
    std::chrono::milliseconds answer_max{120'000}; ///< to take a response
    std::chrono::milliseconds stop_max{5'000};     ///< for requests under way when the server stops

    unsigned handshake_threads{1}; ///< a storm of new connections is theirs alone
    unsigned session_threads{2};
    unsigned handler_threads{4};
};

/// Answers a request. Runs on a handler thread; an exception becomes a 500 and a line in the log.
using Handler = std::function<Response(const Request&)>;

/// Decides about a WebSocket on link::control_path: a refusal, or who hears it. Runs on a thread of its own.
using UpgradeAnswer = std::variant<Response, std::shared_ptr<link::SocketEvents>>;
using Upgrade = std::function<UpgradeAnswer(const Request&)>;

/// Says whether a peer (identity, serial number of its certificate) is still let in. Called on the caller's thread.
using StillLetIn = std::function<bool(const tls::Identity&, const std::string&)>;

/// A TLS 1.3 server; the client's certificate is optional here, so the handler must ask who is calling.
/// Safe from any thread. start() once; stop() (or the destructor) ends all connections.
class Server {
public:
    Server(const ServerSettings& settings, tls::Context context, Handler handler, Upgrade upgrade);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Listens and starts the threads. Errors: unavailable, when the address cannot be listened on.
    [[nodiscard]] Result<void> start();
    /// The port listened on.
    [[nodiscard]] std::uint16_t port() const;
    /// Uses this context for connections from now on (a renewed certificate); open ones go on.
    void replace_context(tls::Context context);
    /// How many connections are open now, WebSockets and handshakes included.
    [[nodiscard]] std::size_t connections() const;
    /// Ends every open connection whose peer `stays` does not say is let in; the answer to a request under way is still
    /// sent, a file is not. Connections without an identity, and those that became WebSockets, are not asked about.
    void recheck(const StillLetIn& stays);
    /// Accepts nothing more, lets requests under way finish within stop_max, closes the rest. Harmless twice.
    void stop();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace muster::rest
