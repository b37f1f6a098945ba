#include "rest/server.h"

#include "base/log.h"
#include "link/tls_stream.h"
#include "rest/problem.h"
#include "rest/session.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cctype>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::rest {
namespace {

namespace net = boost::asio;
using link::error_code;
using net::ip::tcp;

constexpr unsigned char tls_handshake_record = 0x16;
constexpr std::chrono::milliseconds accept_pause{100}; ///< after an accept failed, e.g. out of descriptors
constexpr std::chrono::milliseconds plain_answer_max{2'000};

/// What is answered to plain HTTP, and then the connection is closed.
constexpr std::string_view plain_answer = "HTTP/1.1 400 Bad Request\r\n"
                                          "Content-Type: application/json\r\n"
                                          "Connection: close\r\n"
                                          "Content-Length: 146\r\n"
                                          "\r\n"
                                          R"({"status":"400","type":"TLS_REQUIRED",)"
                                          R"("reason":"this port speaks HTTPS only",)"
                                          R"("title":"this port speaks HTTPS only; write https:// in the address"})";
static_assert(plain_answer.size() - plain_answer.find('{') == 146);

/// Lets a few lines a second through, and says how many it held back.
class LogLimit {
public:
    /// Returns whether to write this line, and sets `held_back` to the lines dropped since the last one written.
    bool pass(std::uint64_t& held_back) {
        const std::scoped_lock lock{mutex_};
        const auto now = std::chrono::steady_clock::now();
        if (now - since_ >= std::chrono::seconds{1}) {
            since_ = now;
            lines_ = 0;
        }
        if (++lines_ > lines_max) {
            ++dropped_;
            return false;
        }
        held_back = std::exchange(dropped_, 0);
        return true;
    }

private:
    static constexpr int lines_max = 5;
    std::mutex mutex_;
    SteadyTime since_{};
    int lines_{0};
    std::uint64_t dropped_{0};
};

} // namespace

/// Two event loops: one accepts and shakes hands, the other serves. A connection moves once, between them.
class Server::Impl {
public:
    Impl(const ServerSettings& settings, tls::Context context, Handler handler, Upgrade upgrade)
        : house_{settings, std::move(handler), std::move(upgrade), settings.handler_threads, 1}, context_{std::move(
                                                                                                     context)} {}

    [[nodiscard]] Result<void> start() {
        const auto& settings = house_.settings;
        error_code error;
        const auto address = net::ip::make_address(settings.address, error);
        if (error) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("'{}' is not an IP address to listen on", settings.address)};
        }
        const tcp::endpoint end{address, settings.port};
        acceptor_.open(end.protocol(), error);
        if (!error) {
            acceptor_.set_option(tcp::acceptor::reuse_address{true}, error);
        }
        if (!error) {
            acceptor_.bind(end, error);
        }
        if (!error) {
            acceptor_.listen(tcp::acceptor::max_listen_connections, error);
        }
        if (error) {
            return Error{ErrorCode::unavailable,
                         fmt::format("cannot listen on {} port {}: {}; is another program using it?",
                                     settings.address,
                                     settings.port,
                                     error.message())};
        }
        port_ = acceptor_.local_endpoint().port();
        net::co_spawn(acceptor_.get_executor(), accept_all(), link::report_exception);
        for (unsigned i = 0; i < settings.handshake_threads; ++i) {
            threads_.emplace_back([this] { handshakes_.run(); });
        }
        for (unsigned i = 0; i < settings.session_threads; ++i) {
            threads_.emplace_back([this] { sessions_.run(); });
        }
        return {};
    }

    [[nodiscard]] std::uint16_t port() const { return port_; }

    void replace_context(tls::Context context) {
        const std::scoped_lock lock{mutex_};
        context_ = std::move(context);
    }

    [[nodiscard]] std::size_t connections() {
        const std::scoped_lock lock{mutex_};
        return present_;
    }

    void recheck(const StillLetIn& stays) {
        for (const auto& session : open_sessions()) {
            const Peer& who = session->who();
            if (who.identity && !stays(*who.identity, who.serial)) {
                session->expel();
            }
        }
    }

    void stop() {
        if (house_.stopping.exchange(true)) {
            return;
        }
        net::post(acceptor_.get_executor(), [this] {
            error_code ignored; // nothing more is accepted either way
            acceptor_.close(ignored);
        });
        for (const auto& session : open_sessions()) {
            session->leave();
        }
        {
            std::unique_lock lock{mutex_};
            gone_.wait_for(lock, house_.settings.stop_max, [this] { return present_ == 0; });
        }
        work_handshakes_.reset();
        work_sessions_.reset();
        handshakes_.stop();
        sessions_.stop();
        threads_.clear();
        house_.handlers.join();
        house_.upgrades.join();
    }

private:
    /// Takes the place of one connection; null when there are too many.
    [[nodiscard]] Presence enter() {
        const std::scoped_lock lock{mutex_};
        if (present_ >= house_.settings.connections_max || shaking_ >= house_.settings.handshakes_max) {
            return nullptr;
        }
        ++present_;
        return {this, [](Impl* self) {
                    const std::scoped_lock leaving{self->mutex_};
                    --self->present_;
                    self->gone_.notify_all();
                }};
    }

    [[nodiscard]] tls::Context context() {
        const std::scoped_lock lock{mutex_};
        return context_;
    }

    [[nodiscard]] std::vector<std::shared_ptr<Session>> open_sessions() {
        const std::scoped_lock lock{mutex_};
        std::vector<std::shared_ptr<Session>> open;
        for (const auto& weak : open_) {
            if (auto session = weak.lock()) {
                open.push_back(std::move(session));
            }
        }
        return open;
    }

    void remember(const std::shared_ptr<Session>& session) {
        const std::scoped_lock lock{mutex_};
        if (open_.size() >= 2 * present_ + 16) { // forget the ended ones now and then
            std::erase_if(open_, [](const auto& weak) { return weak.expired(); });
        }
        open_.push_back(session);
    }

    void report(std::string_view what, const std::string& peer, std::string_view reason) {
        std::uint64_t held_back = 0;
        if (log_limit_.pass(held_back)) {
            log::warning("{} {} {}{}",
                         what,
                         log::field("peer", peer),
                         log::field("reason", reason),
                         held_back > 0 ? fmt::format(" lines_held_back={}", held_back) : "");
        }
    }

    net::awaitable<void> accept_all() {
        for (;;) {
            error_code error;
            tcp::socket socket{net::make_strand(handshakes_)};
            co_await acceptor_.async_accept(socket, net::redirect_error(net::use_awaitable, error));
            if (!acceptor_.is_open()) {
                co_return;
            }
            if (error) {
                report("cannot accept a connection", "?", error.message());
                net::steady_timer pause{acceptor_.get_executor(), accept_pause};
                co_await pause.async_wait(net::use_awaitable);
                continue;
            }
            auto presence = enter();
            if (!presence) {
                report("connection refused", link::peer_text(socket), "too many connections; raise connections_max");
                continue;
            }
            const auto strand = socket.get_executor();
            net::co_spawn(strand, greet(std::move(socket), std::move(presence)), link::report_exception);
        }
    }

    /// From the accepted socket to a session on the other event loop.
    net::awaitable<void> greet(tcp::socket socket, Presence presence) {
        const Counted shaking{*this};
        const auto peer = link::peer_text(socket);
        error_code error;
        socket.set_option(tcp::no_delay{true}, error);
        auto stream = link::make_stream(std::move(socket), context());
        {
            link::Watchdog watchdog{stream.next_layer()};
            watchdog.arm(house_.settings.handshake_max);
            if (!co_await is_tls(stream.next_layer(), peer)) {
                co_return;
            }
            co_await stream.async_handshake(net::ssl::stream_base::server,
                                            net::redirect_error(net::use_awaitable, error));
            if (error) {
                report("TLS handshake failed",
                       peer,
                       watchdog.fired() ? std::string{"not finished in time"} : link::failure_text(stream, error));
                co_return;
            }
        }
        auto identity = tls::peer_identity(stream.native_handle());
        Peer who;
        if (identity) {
            who = {std::move(*identity), tls::peer_serial(stream.native_handle())};
        }
        // The socket moves to the loop of the sessions; what TLS has buffered stays in the stream.
        auto& layer = stream.next_layer();
        const auto protocol = layer.local_endpoint(error).protocol();
        const auto handle = error ? -1 : layer.release(error);
        if (error) {
            co_return; // the peer left in this very moment
        }
        layer = tcp::socket{net::make_strand(sessions_), protocol, handle};
        const auto strand = layer.get_executor();
        const auto session = std::make_shared<Session>(house_, std::move(stream), std::move(who), std::move(presence));
        remember(session);
        net::co_spawn(
            strand, [session] { return session->run(); }, link::report_exception);
    }

    /// Looks at the first byte. Plain HTTP gets an answer that says what is wrong.
    net::awaitable<bool> is_tls(tcp::socket& socket, const std::string& peer) {
        error_code error;
        co_await socket.async_wait(tcp::socket::wait_read, net::redirect_error(net::use_awaitable, error));
        unsigned char first = 0;
        if (error || ::recv(socket.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
            co_return false;
        }
        if (first == tls_handshake_record) {
            co_return true;
        }
        report("connection refused", peer, "it is not TLS; this port speaks HTTPS only");
        if (std::isupper(first) != 0) {
            link::Watchdog watchdog{socket};
            watchdog.arm(plain_answer_max);
            co_await net::async_write(socket,
                                      net::buffer(plain_answer.data(), plain_answer.size()),
                                      net::redirect_error(net::use_awaitable, error));
            socket.shutdown(tcp::socket::shutdown_send, error);
            std::array<char, 4096> junk; // NOLINT: read only to let the answer arrive before the end
            while (!error) {
                co_await socket.async_read_some(net::buffer(junk), net::redirect_error(net::use_awaitable, error));
            }
        }
        co_return false;
    }

    /// Counts a handshake under way.
    struct Counted {
        explicit Counted(Impl& owner) : impl{owner} {
            const std::scoped_lock lock{impl.mutex_};
            ++impl.shaking_;
        }
        ~Counted() {
            const std::scoped_lock lock{impl.mutex_};
            --impl.shaking_;
        }
        Counted(const Counted&) = delete;
        Counted& operator=(const Counted&) = delete;
        Impl& impl;
    };

    std::mutex mutex_; ///< protects the counters, the list and the context
    std::condition_variable gone_;
    std::size_t present_{0};
    std::size_t shaking_{0};
    std::list<std::weak_ptr<Session>> open_;
    LogLimit log_limit_;

    SessionHouse house_;
    tls::Context context_;
    net::io_context handshakes_;
    net::io_context sessions_;
    net::executor_work_guard<net::io_context::executor_type> work_handshakes_{handshakes_.get_executor()};
    net::executor_work_guard<net::io_context::executor_type> work_sessions_{sessions_.get_executor()};
    tcp::acceptor acceptor_{net::make_strand(handshakes_)};
    std::uint16_t port_{0};
    std::vector<std::jthread> threads_;
};

Server::Server(const ServerSettings& settings, tls::Context context, Handler handler, Upgrade upgrade)
    : impl_{std::make_unique<Impl>(settings, std::move(context), std::move(handler), std::move(upgrade))} {}

Server::~Server() {
    impl_->stop();
}

Result<void> Server::start() {
    return impl_->start();
}

std::uint16_t Server::port() const {
    return impl_->port();
}

void Server::replace_context(tls::Context context) {
    impl_->replace_context(std::move(context));
}

std::size_t Server::connections() const {
    return impl_->connections();
}

void Server::recheck(const StillLetIn& stays) {
    impl_->recheck(stays);
}

void Server::stop() {
    impl_->stop();
}

} // namespace muster::rest
