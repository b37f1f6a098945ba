#include "rest/session.h"

#include "base/fd.h"
#include "base/id.h"
#include "base/log.h"
#include "link/url.h"
#include "link/websocket.h"
#include "rest/problem.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

namespace muster::rest {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using link::error_code;

constexpr std::size_t chunk_bytes = 64U << 10U;
/// How much of a refused body is read and thrown away, so that the client sees the answer and not a reset.
constexpr std::size_t drained_bytes_max = 4U << 20U;
constexpr std::chrono::milliseconds farewell_max{2'000};

std::string lower(beast::string_view text) {
    std::string out{text.data(), text.size()};
    std::transform(
        out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

/// A client's request id is kept when it can go into logs and headers as it is.
bool is_sane_id(std::string_view id) {
    constexpr std::size_t bytes_max = 64;
    return !id.empty() && id.size() <= bytes_max && std::all_of(id.begin(), id.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
    });
}

/// Splits the target into path and decoded query. Errors: invalid_argument.
Result<void> take_target(std::string_view target, Request& request) {
    const auto mark = target.find('?');
    request.path = std::string{target.substr(0, mark)};
    if (request.path.empty() || request.path.front() != '/') {
        return Error{ErrorCode::invalid_argument, "the request's target must start with '/'"};
    }
    std::string_view rest = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const auto pair = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        const auto equals = pair.find('=');
        auto name = link::percent_decode(pair.substr(0, equals), true);
        auto value =
            link::percent_decode(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1), true);
        if (!name || !value) {
            return !name ? std::move(name).error() : std::move(value).error();
        }
        request.query[std::move(*name)] = std::move(*value);
    }
    return {};
}

template <typename Fields>
void take_headers(const Fields& fields, Request& request) {
    for (const auto& field : fields) {
        request.headers.emplace_back(lower(field.name_string()),
                                     std::string{field.value().data(), field.value().size()});
    }
    const auto id = request.header("x-request-id");
    request.id = is_sane_id(id) ? std::string{id} : random_hex(8);
}

/// The boundary of one request: whatever goes wrong inside becomes an answer.
template <typename Answer>
Answer call(const std::function<Answer(const Request&)>& handler, const Request& request) {
    try {
        return handler(request);
    } catch (const std::exception& problem_found) {
        log::error("request failed {} {} {} {}",
                   log::field("request", request.id),
                   log::field("method", request.method),
                   log::field("path", request.path),
                   log::field("reason", problem_found.what()));
        return problem(500, "INTERNAL", "the producer failed; its log names request " + request.id);
    }
}

http::response_header<> head_of(const Response& response, const std::string& request_id) {
    http::response_header<> head;
    head.version(11);
    head.result(static_cast<unsigned>(response.status));
    head.set(http::field::server, "muster");
    if (!response.content_type.empty()) {
        head.set(http::field::content_type, response.content_type);
    }
    for (const auto& [name, value] : response.headers) {
        // A value with a line break would become another header; ours come from DNs and digests, so this is a guard.
        if (value.find_first_of("\r\n") == std::string::npos) {
            head.set(name, value);
        }
    }
    if (!request_id.empty()) {
        head.set("X-Request-Id", request_id);
    }
    return head;
}

} // namespace

/// A request on its way in.
struct Session::Incoming {
    beast::flat_buffer buffer{};
    std::optional<http::request_parser<http::empty_body>> head{};
    Request request{};
    bool keep_alive{false};
};

Session::Session(SessionHouse& house, link::TlsStream stream, Peer peer, Presence presence)
    : house_{house}, stream_{std::move(stream)}, watchdog_{std::in_place, stream_->next_layer()},
      strand_{stream_->get_executor()}, who_{std::move(peer)}, presence_{std::move(presence)},
      peer_{link::peer_text(stream_->next_layer())} {}

void Session::leave() {
    // The executor is fixed for the life of the session; only the strand itself looks at stream_.
    net::post(strand_, [self = shared_from_this()] {
        if (self->stream_ && self->stage_ == Stage::idle) {
            error_code ignored; // it was idle, and it is leaving
            self->stream_->next_layer().close(ignored);
        }
    });
}

void Session::expel() {
    net::post(strand_, [self = shared_from_this()] {
        self->expelled_ = true;
        if (self->stream_ && self->stage_ != Stage::answering) {
            error_code ignored; // nothing more is wanted of it
            self->stream_->next_layer().close(ignored);
        }
    });
}

net::awaitable<void> Session::run() {
    const auto self = shared_from_this();
    Incoming incoming;
    for (;;) {
        stage_ = Stage::idle;
        if (expelled_ || house_.stopping.load() || !co_await read_request(incoming)) {
            break;
        }
        stage_ = Stage::answering;
        bool answered = false;
        if (co_await take_upgrade(incoming, answered)) {
            co_return;
        }
        if (!answered) {
            const auto request = incoming.request;
            auto response = co_await handle(std::move(incoming.request));
            if (!co_await answer(request, std::move(response), incoming.keep_alive && !house_.stopping.load())) {
                break;
            }
        }
        if (!incoming.keep_alive) {
            break;
        }
    }
    co_await finish();
}

net::awaitable<bool> Session::read_request(Incoming& incoming) {
    error_code error;
    auto& stream = *stream_;
    if (incoming.buffer.size() == 0) {
        watchdog_->arm(house_.settings.idle_max);
        const auto room = incoming.buffer.prepare(chunk_bytes / 16);
        const auto bytes = co_await stream.async_read_some(room, net::redirect_error(net::use_awaitable, error));
        if (error) {
            co_return false;
        }
        incoming.buffer.commit(bytes);
    }
    stage_ = Stage::receiving;
    watchdog_->arm(house_.settings.header_max);
    auto& head = incoming.head.emplace();
    head.header_limit(static_cast<std::uint32_t>(house_.settings.header_bytes_max));
    head.body_limit(house_.settings.body_bytes_max);
    co_await http::async_read_header(stream, incoming.buffer, head, net::redirect_error(net::use_awaitable, error));
    if (error == http::error::header_limit) {
        co_return co_await refuse_unread(431, "HEADER_TOO_LARGE", "the header is larger than this server accepts");
    }
    if (error == http::error::body_limit) {
        co_return co_await refuse_unread(413, "BODY_TOO_LARGE", "the body is larger than this server accepts");
    }
    if (error && error.category() == http::make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
        co_return co_await refuse_unread(400, "BAD_REQUEST", "this is not HTTP/1.1: " + error.message());
    }
    if (error) {
        co_return false;
    }
    incoming.keep_alive = head.get().keep_alive();
    incoming.request = Request{};
    auto& request = incoming.request;
    request.method = std::string{head.get().method_string()};
    request.identity = who_.identity;
    request.serial = who_.serial;
    request.peer = peer_;
    take_headers(head.get(), request);
    if (auto taken = take_target({head.get().target().data(), head.get().target().size()}, request); !taken) {
        co_return co_await refuse_unread(400, "BAD_REQUEST", taken.error().message);
    }
    co_return co_await read_body(incoming);
}

net::awaitable<bool> Session::read_body(Incoming& incoming) {
    if (beast::websocket::is_upgrade(incoming.head->get())) {
        co_return true;
    }
    error_code error;
    watchdog_->arm(house_.settings.body_max);
    if (lower(incoming.head->get()[http::field::expect]) == "100-continue") {
        constexpr std::string_view go_on{"HTTP/1.1 100 Continue\r\n\r\n"};
        co_await net::async_write(
            *stream_, net::buffer(go_on.data(), go_on.size()), net::redirect_error(net::use_awaitable, error));
        if (error) {
            co_return false;
        }
    }
    http::request_parser<http::string_body> body{std::move(*incoming.head)};
    body.body_limit(house_.settings.body_bytes_max);
    if (!body.is_done()) {
        co_await http::async_read(*stream_, incoming.buffer, body, net::redirect_error(net::use_awaitable, error));
    }
    if (error == http::error::body_limit) {
        co_return co_await refuse_unread(413, "BODY_TOO_LARGE", "the body is larger than this server accepts");
    }
    if (error) {
        co_return false;
    }
    incoming.request.body = std::move(body.get().body());
    co_return true;
}

net::awaitable<bool> Session::refuse_unread(int status, std::string type, std::string reason) {
    Request nobody;
    nobody.id = random_hex(8);
    log::info("request refused {} {} status={} {}",
              log::field("request", nobody.id),
              log::field("peer", peer_),
              status,
              log::field("reason", reason));
    if (co_await answer(nobody, problem(status, type, reason), false)) {
        // Say that this is the end, then take what is still coming, so that the client sees the answer and no reset.
        watchdog_->arm(farewell_max);
        error_code error;
        co_await stream_->async_shutdown(net::redirect_error(net::use_awaitable, error));
        auto& socket = stream_->next_layer();
        socket.shutdown(net::socket_base::shutdown_send, error);
        std::array<char, chunk_bytes / 4> junk; // NOLINT: filled by the read
        for (std::size_t drained = 0; !error && drained < drained_bytes_max;) {
            drained +=
                co_await socket.async_read_some(net::buffer(junk), net::redirect_error(net::use_awaitable, error));
        }
        socket.close(error);
    }
    co_return false;
}

net::awaitable<Response> Session::handle(Request request) {
    if (house_.requests.fetch_add(1) >= house_.settings.requests_max) {
        house_.requests.fetch_sub(1);
        co_return problem(503, "UNAVAILABLE", "too many requests are under way; try again");
    }
    watchdog_->disarm(); // a handler's time is not the peer's
    const auto work = [this](Request taken) -> net::awaitable<Response> { co_return call(house_.handler, taken); };
    auto response = co_await net::co_spawn(house_.handlers, work(std::move(request)), net::use_awaitable);
    house_.requests.fetch_sub(1);
    co_return response;
}

net::awaitable<bool> Session::answer(const Request& request, Response response, bool keep_alive) {
    watchdog_->arm(house_.settings.answer_max);
    const bool is_head = request.method == "HEAD";
    error_code error;
    if (response.file) {
        co_return co_await send_file(request, std::move(response), keep_alive);
    }
    http::response<http::string_body> message{head_of(response, request.id)};
    message.keep_alive(keep_alive);
    message.body() = std::move(response.body);
    if (response.status != 204 && response.status != 304) {
        const auto declared = message.find(http::field::content_length);
        if (!is_head || declared == message.end()) {
            message.content_length(message.body().size());
        }
    }
    if (is_head) {
        message.body().clear();
    }
    co_await http::async_write(*stream_, message, net::redirect_error(net::use_awaitable, error));
    co_return !error;
}

net::awaitable<bool> Session::send_file(const Request& request, Response response, bool keep_alive) {
    const UniqueFd file{::open(response.file->c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat status {};
    if (!file.valid() || ::fstat(file.get(), &status) != 0) {
        co_return co_await answer(request, problem(404, "NOT_FOUND", "there is no such file"), keep_alive);
    }
    http::response<http::empty_body> message{head_of(response, request.id)};
    message.keep_alive(keep_alive);
    message.content_length(static_cast<std::uint64_t>(status.st_size));
    error_code error;
    http::response_serializer<http::empty_body> serializer{message};
    co_await http::async_write_header(*stream_, serializer, net::redirect_error(net::use_awaitable, error));
    auto left = request.method == "HEAD" ? 0 : status.st_size;
    std::vector<char> chunk(chunk_bytes);
    while (!error && left > 0 && !expelled_) {
        watchdog_->arm(house_.settings.answer_max); // each chunk has its time, so a large file may take long
        const auto wanted = std::min<std::size_t>(chunk.size(), static_cast<std::size_t>(left));
        const auto bytes = ::read(file.get(), chunk.data(), wanted);
        if (bytes <= 0) {
            log::error("cannot send file {} {}",
                       log::field("request", request.id),
                       log::field("file", response.file->string()));
            co_return false; // the length was promised; only the end of the connection can say it was not kept
        }
        co_await net::async_write(*stream_,
                                  net::buffer(chunk.data(), static_cast<std::size_t>(bytes)),
                                  net::redirect_error(net::use_awaitable, error));
        left -= bytes;
    }
    co_return !error && left == 0;
}

net::awaitable<bool> Session::take_upgrade(Incoming& incoming, bool& answered) {
    if (!incoming.head || !beast::websocket::is_upgrade(incoming.head->get())) {
        co_return false;
    }
    answered = true;
    const auto& request = incoming.request;
    UpgradeAnswer decision = problem(404, "NOT_FOUND", "there is no WebSocket at this path");
    if (request.path == link::control_path && house_.upgrade) {
        const auto ask = [this](const Request* asked) -> net::awaitable<UpgradeAnswer> {
            co_return call(house_.upgrade, *asked);
        };
        decision = co_await net::co_spawn(house_.upgrades, ask(&request), net::use_awaitable);
    }
    if (auto* const refusal = std::get_if<Response>(&decision)) {
        incoming.keep_alive = false;
        co_await answer(request, std::move(*refusal), false);
        co_return false;
    }
    watchdog_.reset();
    auto stream = std::move(*stream_);
    stream_.reset();
    link::serve_websocket(std::move(stream),
                          incoming.head->release(),
                          std::get<std::shared_ptr<link::SocketEvents>>(std::move(decision)),
                          house_.settings.control,
                          [presence = presence_] {});
    co_return true;
}

net::awaitable<void> Session::finish() {
    stage_ = Stage::idle;
    watchdog_->arm(farewell_max);
    error_code ignored; // the peer may be gone already; either way this is the end
    if (stream_->next_layer().is_open()) {
        co_await stream_->async_shutdown(net::redirect_error(net::use_awaitable, ignored));
        stream_->next_layer().close(ignored);
    }
}

} // namespace muster::rest
