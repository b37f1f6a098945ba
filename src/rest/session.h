/// One HTTP connection after its TLS handshake. Internal to the server (includes Asio).
#pragma once

#include "link/tls_stream.h"
#include "rest/server.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

namespace muster::rest {

/// What all sessions of a server share.
struct SessionHouse {
    const ServerSettings settings;
    const Handler handler;
    const Upgrade upgrade;
    boost::asio::thread_pool handlers;
    boost::asio::thread_pool upgrades; ///< so that a function gets in while requests fill the handlers
    std::atomic<std::size_t> requests{0};
    std::atomic<bool> stopping{false};
};

/// Whose certificate the handshake has verified.
struct Peer {
    std::optional<tls::Identity> identity{};
    std::string serial{};
};

/// Counts a connection from its accept to its end.
using Presence = std::shared_ptr<void>;

/// One connection. All of it happens on the stream's strand.
class Session : public std::enable_shared_from_this<Session> {
public:
    Session(SessionHouse& house, link::TlsStream stream, Peer peer, Presence presence);

    /// Serves requests until the connection ends or becomes a WebSocket.
    boost::asio::awaitable<void> run();
    /// Closes the connection, at once when it is between requests, else after the answer. From any thread.
    void leave();
    /// Closes the connection at once; only an answer under way that is no file is still sent. From any thread.
    void expel();
    /// Whose connection it is. From any thread.
    [[nodiscard]] const Peer& who() const { return who_; }

private:
    struct Incoming;
    // Each returns false when the connection is to end.
    boost::asio::awaitable<bool> read_request(Incoming& incoming);
    boost::asio::awaitable<bool> read_body(Incoming& incoming);
    boost::asio::awaitable<bool> refuse_unread(int status, std::string type, std::string reason);
    boost::asio::awaitable<bool> answer(const Request& request, Response response, bool keep_alive);
    boost::asio::awaitable<bool> send_file(const Request& request, Response response, bool keep_alive);
    boost::asio::awaitable<Response> handle(Request request);
    /// True when the stream was given away; `answered` when the request was an upgrade, refused.
    boost::asio::awaitable<bool> take_upgrade(Incoming& incoming, bool& answered);
    boost::asio::awaitable<void> finish();

    SessionHouse& house_;
    std::optional<link::TlsStream> stream_; ///< given away to a WebSocket
    std::optional<link::Watchdog> watchdog_;
    boost::asio::any_io_executor strand_;
    const Peer who_;
    Presence presence_;
    std::string peer_;
    enum class Stage { idle, receiving, answering };
    Stage stage_{Stage::idle};
    bool expelled_{false};
};

} // namespace muster::rest
