#include "link/control_dialer.h"

#include "link/websocket.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <openssl/ssl.h>

#include <optional>
#include <thread>

namespace muster::link {

class ControlDialer::Impl {
public:
    explicit Impl(SocketLimits limits) : limits_{limits}, thread_{[this] { io_.run(); }} {}
    ~Impl() { io_.stop(); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void dial(const Url& url, const tls::Context& context, Duration wait, std::shared_ptr<SocketEvents> events) {
        net::co_spawn(net::make_strand(io_), run(url, context, wait, std::move(events)), report_exception);
    }

private:
    net::awaitable<void> run(Url url, tls::Context context, Duration wait, std::shared_ptr<SocketEvents> events) {
        const auto started = std::chrono::steady_clock::now();
        std::string why;
        auto stream = co_await secure(url, context, wait, why);
        if (!stream) {
            events->on_closed(why);
            co_return;
        }
        auto limits = limits_;
        const auto left = wait - (std::chrono::steady_clock::now() - started);
        limits.closing_max = std::max(limits.closing_max, std::chrono::ceil<std::chrono::milliseconds>(left));
        open_websocket(std::move(*stream), url.authority(), std::move(events), limits, {});
    }

    /// A TLS connection to a producer, or none and the reason.
    net::awaitable<std::optional<TlsStream>>
    secure(const Url& url, const tls::Context& context, Duration wait, std::string& why) {
        const auto executor = co_await net::this_coro::executor;
        error_code error;
        tcp::resolver resolver{executor};
        const auto ends = co_await resolver.async_resolve(
            url.host, std::to_string(url.port), net::redirect_error(net::use_awaitable, error));
        if (error) {
            why = fmt::format("cannot find host '{}': {}; check the producer's address", url.host, error.message());
            co_return std::nullopt;
        }
        tcp::socket socket{executor};
        {
            Watchdog watchdog{socket};
            watchdog.arm(wait);
            co_await net::async_connect(socket, ends, net::redirect_error(net::use_awaitable, error));
        }
        if (error) {
            why = fmt::format("cannot connect to {}: {}; is the producer running there, and is the port open?",
                              url.authority(),
                              error.message());
            co_return std::nullopt;
        }
        socket.set_option(tcp::no_delay{true}, error);
        auto stream = make_stream(std::move(socket), context);
        Watchdog watchdog{stream.next_layer()};
        watchdog.arm(wait);
        co_await stream.async_handshake(net::ssl::stream_base::client, net::redirect_error(net::use_awaitable, error));
        if (error) {
            why = fmt::format("no secure connection to {}: {}",
                              url.authority(),
                              watchdog.fired() ? std::string{"no answer in time"} : failure_text(stream, error));
            co_return std::nullopt;
        }
        const auto identity = tls::peer_identity(stream.native_handle());
        if (!identity || identity->role != tls::Role::producer) {
            why = fmt::format("the server at {} is {}, not a producer; check the producer's address",
                              url.authority(),
                              identity ? "'" + identity->uri + "'" : "without identity");
            co_return std::nullopt;
        }
        co_return std::optional<TlsStream>{std::move(stream)};
    }

    const SocketLimits limits_;
    net::io_context io_{1};
    net::executor_work_guard<net::io_context::executor_type> work_{io_.get_executor()};
    std::jthread thread_; ///< last: it starts when all above exists, and ends before any of it goes
};

ControlDialer::ControlDialer(SocketLimits limits) : impl_{std::make_unique<Impl>(limits)} {}
ControlDialer::~ControlDialer() = default;

void ControlDialer::dial(const Url& producer,
                         const tls::Context& context,
                         Duration wait,
                         std::shared_ptr<SocketEvents> events) {
    impl_->dial(producer, context, wait, std::move(events));
}

} // namespace muster::link
