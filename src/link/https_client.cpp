#include "link/https_client.h"

#include "base/fd.h"
#include "link/tls_stream.h"
#include "link/url.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <limits>
#include <system_error>

namespace muster::link {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::size_t header_bytes_max = 64U << 10U;
constexpr std::size_t read_bytes = 64U << 10U;

/// Where the body of an answer goes: into memory, or a 200's into a file.
struct Sink {
    std::string* memory{};
    std::size_t memory_max{};
    int file{-1};
    std::uint64_t file_max{};
    std::uint64_t written{0};

    [[nodiscard]] Result<void> take(const char* data, std::size_t size, bool to_file) {
        written += size;
        if (written > (to_file ? file_max : memory_max)) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("the answer is larger than {} bytes", to_file ? file_max : memory_max)};
        }
        if (!to_file) {
            memory->append(data, size);
            return {};
        }
        while (size > 0) {
            const auto done = ::write(file, data, size);
            if (done < 0 && errno == EINTR) {
                continue;
            }
            if (done < 0) {
                return Error{ErrorCode::unavailable,
                             fmt::format("cannot write: {}", std::generic_category().message(errno))};
            }
            data += done;
            size -= static_cast<std::size_t>(done);
        }
        return {};
    }
};

/// One exchange, as the coroutine needs it.
struct Exchange {
    http::request<http::string_body> request{};
    Sink sink{};
    Answer answer{};
    bool repeatable{};
};

bool is_ip_address(const std::string& host) {
    error_code error;
    net::ip::make_address(host, error);
    return !error;
}

} // namespace

std::string Answer::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (beast::iequals({key.data(), key.size()}, {name.data(), name.size()})) {
            return value;
        }
    }
    return {};
}

/// The connection and the event loop that runs only while a call waits.
class HttpsClient::Connection {
public:
    Connection(HttpsSettings settings, tls::Context context)
        : settings_{std::move(settings)}, context_{std::move(context)}, url_{settings_.host, settings_.port, "/"} {}

    ~Connection() { close(); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] Result<Answer> run(Exchange& exchange, Deadline deadline) {
        Result<void> outcome = Error{ErrorCode::deadline_exceeded, ""};
        std::exception_ptr thrown;
        io_.restart();
        net::co_spawn(io_, perform(exchange), [&](std::exception_ptr problem, Result<void> result) {
            thrown = std::move(problem);
            outcome = std::move(result);
        });
        io_.run_until(deadline.at());
        if (!io_.stopped()) { // there is still work, so the time is up
            expired_ = true;
            close_socket();
            resolver_.cancel();
            io_.run();
            expired_ = false;
            outcome = Error{ErrorCode::deadline_exceeded,
                            fmt::format("no answer from {} in time ({})", url_.authority(), phase_)};
        }
        if (thrown) {
            std::rethrow_exception(thrown);
        }
        if (!outcome) {
            close();
            return std::move(outcome).error();
        }
        return std::move(exchange.answer);
    }

    void close() {
        close_socket();
        stream_.reset();
        buffer_.clear();
    }

    [[nodiscard]] std::string host_header() const { return url_.authority(); }
    [[nodiscard]] std::size_t answer_bytes_max() const { return settings_.answer_bytes_max; }
    [[nodiscard]] const std::optional<tls::Identity>& server() const { return server_; }

private:
    void close_socket() {
        error_code ignored; // the connection is given up; there is nothing to do about a failing close
        dialling_.close(ignored);
        if (stream_) {
            stream_->next_layer().close(ignored);
        }
    }

    /// A server that closed an idle connection has left bytes or an end for us to see.
    [[nodiscard]] bool idle_and_open() {
        if (!stream_ || !stream_->next_layer().is_open()) {
            return false;
        }
        pollfd readable{stream_->next_layer().native_handle(), POLLIN, 0};
        return ::poll(&readable, 1, 0) == 0;
    }

    net::awaitable<Result<void>> perform(Exchange& exchange) {
        bool reused = idle_and_open();
        for (;;) {
            if (!reused) {
                auto connected = co_await connect();
                if (!connected) {
                    co_return connected;
                }
            }
            bool answered = false;
            auto done = co_await exchange_once(exchange, answered);
            if (done || answered || !reused || !exchange.repeatable || expired_) {
                co_return done;
            }
            close();
            reused = false;
        }
    }

    net::awaitable<Result<void>> connect() {
        close();
        error_code error;
        phase_ = "looking the host up";
        const auto port = std::to_string(settings_.port);
        const auto found =
            co_await resolver_.async_resolve(settings_.host, port, net::redirect_error(net::use_awaitable, error));
        if (error || expired_) {
            co_return Error{ErrorCode::unavailable,
                            fmt::format("cannot find host '{}': {}; check the name in the address and the name service",
                                        settings_.host,
                                        error.message())};
        }
        phase_ = "connecting";
        co_await net::async_connect(dialling_, found, net::redirect_error(net::use_awaitable, error));
        if (error) {
            co_return Error{
                ErrorCode::unavailable,
                fmt::format("cannot connect to {}: {}; is the server running there, and is the port open to this host?",
                            url_.authority(),
                            error.message())};
        }
        dialling_.set_option(tcp::no_delay{true}, error);
        stream_.emplace(make_stream(std::exchange(dialling_, tcp::socket{io_}), context_));
        SSL* const ssl = stream_->native_handle();
        if (!is_ip_address(settings_.host) && SSL_set_tlsext_host_name(ssl, settings_.host.c_str()) != 1) {
            co_return Error{ErrorCode::invalid_argument, fmt::format("'{}' is no host name", settings_.host)};
        }
        phase_ = "in the TLS handshake";
        co_await stream_->async_handshake(net::ssl::stream_base::client,
                                          net::redirect_error(net::use_awaitable, error));
        if (error) {
            co_return Error{code_of(error),
                            fmt::format("no secure connection to {}: {}", url_.authority(), explain(error))};
        }
        co_return check_peer(ssl);
    }

    [[nodiscard]] Result<void> check_peer(SSL* ssl) {
        auto identity = tls::peer_identity(ssl);
        if (!identity) {
            return std::move(identity).error();
        }
        server_ = *identity;
        if (settings_.peer == PeerCheck::producer && identity->role != tls::Role::producer) {
            return Error{ErrorCode::unauthenticated,
                         fmt::format("the server at {} is '{}', not a producer; check the address",
                                     url_.authority(),
                                     identity->uri)};
        }
        if (settings_.peer == PeerCheck::host && !tls::peer_has_host(ssl, settings_.host)) {
            return Error{ErrorCode::unauthenticated,
                         fmt::format("the certificate of the server at {} is not for the host '{}'",
                                     url_.authority(),
                                     settings_.host)};
        }
        return {};
    }

    [[nodiscard]] std::string explain(const error_code& error) { return failure_text(*stream_, error); }

    /// What TLS says itself is a refusal; a connection that just ends may have met a server that ends or starts.
    [[nodiscard]] static ErrorCode code_of(const error_code& error) {
        const bool refused = error.category() == net::error::get_ssl_category();
        return refused ? ErrorCode::unauthenticated : ErrorCode::unavailable;
    }

    [[nodiscard]] Error broken(const error_code& error) {
        // TLS 1.3 tells a client only here that its certificate was refused.
        return {code_of(error),
                fmt::format("the connection to {} broke {}: {}", url_.authority(), phase_, explain(error))};
    }

    net::awaitable<Result<void>> exchange_once(Exchange& exchange, bool& answered) {
        error_code error;
        phase_ = "while sending the request";
        co_await http::async_write(*stream_, exchange.request, net::redirect_error(net::use_awaitable, error));
        if (error && error != net::error::broken_pipe && error != net::error::connection_reset) {
            co_return broken(error);
        }
        // A server that refuses early (413) answers before it has read everything, so look for an answer anyway.
        phase_ = "while waiting for the answer";
        http::response_parser<http::buffer_body> parser;
        parser.header_limit(header_bytes_max);
        parser.body_limit(std::numeric_limits<std::uint64_t>::max()); // the sink has its own limit
        parser.skip(exchange.request.method() == http::verb::head);
        co_await http::async_read_header(*stream_, buffer_, parser, net::redirect_error(net::use_awaitable, error));
        if (error) {
            co_return broken(error);
        }
        answered = true;
        const auto& head = parser.get();
        exchange.answer.status = static_cast<int>(head.result_int());
        for (const auto& field : head) {
            exchange.answer.headers.emplace_back(std::string{field.name_string()}, std::string{field.value()});
        }
        const bool to_file = exchange.sink.file >= 0 && exchange.answer.status == 200;
        phase_ = "while reading the answer";
        std::array<char, read_bytes> chunk; // NOLINT: filled by the parser
        while (!parser.is_done()) {
            parser.get().body().data = chunk.data();
            parser.get().body().size = chunk.size();
            co_await http::async_read(*stream_, buffer_, parser, net::redirect_error(net::use_awaitable, error));
            if (error == http::error::need_buffer) {
                error = {};
            }
            if (error) {
                co_return broken(error);
            }
            auto taken = exchange.sink.take(chunk.data(), chunk.size() - parser.get().body().size, to_file);
            if (!taken) {
                co_return taken;
            }
        }
        if (!parser.get().keep_alive()) {
            close();
        }
        co_return Result<void>{};
    }

    HttpsSettings settings_;
    tls::Context context_;
    Url url_;
    net::io_context io_{1};
    tcp::resolver resolver_{io_};
    tcp::socket dialling_{io_}; ///< until it is connected
    bool expired_{false};
    std::optional<TlsStream> stream_;
    beast::flat_buffer buffer_;
    std::optional<tls::Identity> server_;
    const char* phase_{""};
};

HttpsClient::HttpsClient(HttpsSettings settings, tls::Context context)
    : connection_{std::make_unique<Connection>(std::move(settings), std::move(context))} {}
HttpsClient::~HttpsClient() = default;
HttpsClient::HttpsClient(HttpsClient&&) noexcept = default;
HttpsClient& HttpsClient::operator=(HttpsClient&&) noexcept = default;

namespace {

/// Puts a request together. Errors: invalid_argument, for a header or path that would break the message.
Result<http::request<http::string_body>> make_request(std::string_view method,
                                                      const std::string& path,
                                                      const std::string& host,
                                                      const Headers& headers,
                                                      std::string body) {
    constexpr std::string_view line_breakers{"\r\n\0", 3};
    const auto verb = http::string_to_verb({method.data(), method.size()});
    if (verb == http::verb::unknown || path.empty() || path.front() != '/' ||
        path.find_first_of(" \t\r\n") != std::string::npos) {
        return Error{ErrorCode::invalid_argument, fmt::format("'{} {}' is no HTTP request", method, path)};
    }
    http::request<http::string_body> request{verb, path, 11};
    request.set(http::field::host, host);
    request.set(http::field::user_agent, "muster");
    for (const auto& [name, value] : headers) {
        if (name.find_first_of(line_breakers) != std::string::npos ||
            value.find_first_of(line_breakers) != std::string::npos) {
            return Error{ErrorCode::invalid_argument, fmt::format("header '{}' holds a line break", name)};
        }
        request.set(name, value);
    }
    request.body() = std::move(body);
    request.prepare_payload();
    return request;
}

bool is_repeatable(std::string_view method) {
    return method != "POST" && method != "PATCH";
}

} // namespace

Result<Answer> HttpsClient::request(
    std::string_view method, const std::string& path, const Headers& headers, std::string body, Deadline deadline) {
    auto request = make_request(method, path, connection_->host_header(), headers, std::move(body));
    if (!request) {
        return std::move(request).error();
    }
    Exchange exchange{std::move(*request), {}, {}, is_repeatable(method)};
    exchange.sink.memory = &exchange.answer.body;
    exchange.sink.memory_max = connection_->answer_bytes_max();
    return connection_->run(exchange, deadline);
}

Result<Answer> HttpsClient::download(const std::string& path,
                                     const Headers& headers,
                                     const std::filesystem::path& file,
                                     std::uint64_t bytes_max,
                                     Deadline deadline) {
    auto request = make_request("GET", path, connection_->host_header(), headers, {});
    if (!request) {
        return std::move(request).error();
    }
    UniqueFd target{::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!target.valid()) {
        return Error{ErrorCode::unavailable,
                     fmt::format("cannot write {}: {}", file.string(), std::generic_category().message(errno))};
    }
    Exchange exchange{std::move(*request), {}, {}, true};
    exchange.sink = {&exchange.answer.body, connection_->answer_bytes_max(), target.get(), bytes_max};
    auto answer = connection_->run(exchange, deadline);
    if (!answer || answer->status != 200) {
        std::error_code ignored; // the download failed already; that is what the caller hears
        std::filesystem::remove(file, ignored);
    }
    return answer;
}

const std::optional<tls::Identity>& HttpsClient::server() const {
    return connection_->server();
}

void HttpsClient::close() {
    connection_->close();
}

} // namespace muster::link
