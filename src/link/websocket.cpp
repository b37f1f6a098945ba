#include "link/websocket.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <fmt/format.h>

#include <deque>
#include <mutex>

namespace muster::link {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;

/// The longest reason that fits a close frame (RFC 6455 5.5: 125 bytes with the code).
constexpr std::size_t reason_bytes_max = 123;

/// Calls a function at the end of a scope, however it is left.
struct Ending {
    const std::function<void()>& call;
    ~Ending() {
        if (call) {
            call();
        }
    }
};

/// One WebSocket. Its coroutines hold it; it ends when the reading one does.
class WebSocket final : public MessageSocket, public std::enable_shared_from_this<WebSocket> {
public:
    WebSocket(TlsStream stream, std::shared_ptr<SocketEvents> events, SocketLimits limits, std::function<void()> ended)
        : stream_{std::move(stream)}, events_{std::move(events)}, limits_{limits}, ended_{std::move(ended)},
          peer_{peer_text(socket())}, closing_{socket()} {}

    bool send(std::string text) override {
        const std::scoped_lock lock{mutex_};
        if (closed_ || text.size() > limits_.text_bytes_max || queued_bytes_ + text.size() > limits_.queue_bytes_max) {
            return false;
        }
        queued_bytes_ += text.size();
        queue_.push_back(std::move(text));
        if (!writing_) {
            writing_ = true;
            start(&WebSocket::write_queue);
        }
        return true;
    }

    void close(std::string reason) override {
        const std::scoped_lock lock{mutex_};
        if (closed_) {
            return;
        }
        closed_ = true;
        reason_ = std::move(reason);
        if (!writing_) {
            writing_ = true;
            start(&WebSocket::write_queue);
        }
        net::post(stream_.get_executor(),
                  [self = shared_from_this()] { self->closing_.arm(self->limits_.closing_max); });
    }

    [[nodiscard]] const std::string& peer() const override { return peer_; }

    [[nodiscard]] auto executor() { return stream_.get_executor(); }

    net::awaitable<void> serve(UpgradeRequest request) {
        const auto self = shared_from_this();
        const Ending ending{ended_};
        configure();
        error_code error;
        co_await stream_.async_accept(request, net::redirect_error(net::use_awaitable, error));
        co_await run(error);
    }

    net::awaitable<void> open(std::string host) {
        const auto self = shared_from_this();
        const Ending ending{ended_};
        configure();
        error_code error;
        websocket::response_type response;
        co_await stream_.async_handshake(response, host, control_path, net::redirect_error(net::use_awaitable, error));
        if (error == websocket::error::upgrade_declined) {
            refusal_ = fmt::format("refused with status {}: {}", response.result_int(), response.body());
        }
        co_await run(error);
    }

private:
    [[nodiscard]] tcp::socket& socket() { return stream_.next_layer().next_layer(); }

    void start(net::awaitable<void> (WebSocket::*routine)()) {
        // Posted, because newer Asio may start a coroutine at once, and our caller holds the mutex.
        net::post(executor(), [self = shared_from_this(), routine] {
            net::co_spawn(
                self->executor(), [self, routine] { return (self.get()->*routine)(); }, report_exception);
        });
    }

    void configure() {
        websocket::stream_base::timeout timeout{};
        timeout.handshake_timeout = limits_.closing_max;
        timeout.idle_timeout =
            limits_.idle_max.count() > 0 ? Duration{limits_.idle_max} : websocket::stream_base::none();
        timeout.keep_alive_pings = limits_.idle_max.count() > 0;
        stream_.set_option(timeout);
        stream_.read_message_max(limits_.text_bytes_max);
        stream_.text(true);
    }

    /// From the handshake's outcome to the end.
    net::awaitable<void> run(error_code error) {
        std::string why;
        if (!error) {
            events_->on_open(shared_from_this());
            why = co_await read_texts();
        } else {
            why = refusal_.empty() ? failure_text(stream_.next_layer(), error) : refusal_;
        }
        {
            const std::scoped_lock lock{mutex_};
            closed_ = true;
            queue_.clear();
            queued_bytes_ = 0;
            if (!reason_.empty()) {
                why = reason_;
            }
        }
        error_code ignored; // the socket is done with either way
        socket().close(ignored);
        events_->on_closed(why);
    }

    /// Returns why it ended.
    net::awaitable<std::string> read_texts() {
        beast::flat_buffer buffer;
        for (;;) {
            error_code error;
            co_await stream_.async_read(buffer, net::redirect_error(net::use_awaitable, error));
            if (error == websocket::error::closed) {
                const auto& reason = stream_.reason().reason;
                co_return reason.empty() ? std::string{"the other end closed the channel"}
                                         : std::string{reason.data(), reason.size()};
            }
            if (error == beast::error::timeout) {
                co_return std::string{"the other end is silent"};
            }
            if (error) {
                co_return failure_text(stream_.next_layer(), error);
            }
            auto text = beast::buffers_to_string(buffer.data());
            buffer.consume(buffer.size());
            events_->on_text(std::move(text));
        }
    }

    net::awaitable<void> write_queue() {
        const auto self = shared_from_this();
        for (;;) {
            std::string text;
            bool last = false;
            {
                const std::scoped_lock lock{mutex_};
                if (queue_.empty() && !closed_) {
                    writing_ = false;
                    co_return;
                }
                last = queue_.empty();
                if (!last) {
                    text = std::move(queue_.front());
                    queue_.pop_front();
                    queued_bytes_ -= text.size();
                }
            }
            error_code error;
            if (last) {
                co_await say_goodbye();
                co_return;
            }
            co_await stream_.async_write(net::buffer(text), net::redirect_error(net::use_awaitable, error));
            if (error) {
                socket().close(error); // the reader notices, and reports
                co_return;
            }
        }
    }

    net::awaitable<void> say_goodbye() {
        if (!stream_.is_open()) {
            co_return;
        }
        websocket::close_reason reason{websocket::close_code::normal};
        reason.reason = reason_.substr(0, reason_bytes_max);
        error_code ignored; // the reader ends with its own error; the socket is closed in any case
        co_await stream_.async_close(reason, net::redirect_error(net::use_awaitable, ignored));
        socket().close(ignored);
    }

    websocket::stream<TlsStream> stream_;
    std::shared_ptr<SocketEvents> events_;
    const SocketLimits limits_;
    std::function<void()> ended_;
    const std::string peer_;
    Watchdog closing_;
    std::string refusal_;

    std::mutex mutex_; ///< protects all below
    std::deque<std::string> queue_;
    std::size_t queued_bytes_{0};
    std::string reason_;
    bool writing_{false};
    bool closed_{false};
};

} // namespace

void serve_websocket(TlsStream stream,
                     UpgradeRequest request,
                     std::shared_ptr<SocketEvents> events,
                     SocketLimits limits,
                     std::function<void()> ended) {
    const auto socket = std::make_shared<WebSocket>(std::move(stream), std::move(events), limits, std::move(ended));
    net::co_spawn(
        socket->executor(),
        [socket, request = std::move(request)]() mutable { return socket->serve(std::move(request)); },
        report_exception);
}

void open_websocket(TlsStream stream,
                    const std::string& host,
                    std::shared_ptr<SocketEvents> events,
                    SocketLimits limits,
                    std::function<void()> ended) {
    const auto socket = std::make_shared<WebSocket>(std::move(stream), std::move(events), limits, std::move(ended));
    net::co_spawn(
        socket->executor(), [socket, host] { return socket->open(host); }, report_exception);
}

} // namespace muster::link
