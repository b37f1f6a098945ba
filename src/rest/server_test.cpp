#include "base/digest.h"
#include "base/fd.h"
#include "base/file.h"
#include "link/https_client.h"
#include "rest/problem.h"
#include "rest/server.h"
#include "rest/test_pki.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <latch>
#include <thread>

namespace muster::rest {
namespace {

using namespace std::chrono_literals;
using link::HttpsClient;
using test::Pki;

const std::string consumer = tls::consumer_uri("analytics");

Deadline soon() {
    return Deadline::after(10s);
}

/// Answers with what it was asked.
Response echo(const Request& request) {
    Response response;
    response.content_type = "text/plain";
    response.body = fmt::format("{} {} {} {}",
                                request.method,
                                request.path,
                                request.identity ? request.identity->name : "(nobody)",
                                request.body.size());
    for (const auto& [name, value] : request.query) {
        response.body += fmt::format(" {}={}", name, value);
    }
    return response;
}

/// A server on a free port.
struct HttpsServer : testing::Test {
    Server& start(Handler handler = echo, ServerSettings settings = {}) {
        settings.address = "127.0.0.1";
        server = std::make_unique<Server>(settings, pki.server(), std::move(handler), Upgrade{});
        const auto started = server->start();
        EXPECT_TRUE(started.ok());
        return *server;
    }
    [[nodiscard]] HttpsClient client(const tls::Context& context) const {
        return HttpsClient{{"127.0.0.1", server->port()}, context};
    }
    [[nodiscard]] HttpsClient client() const { return client(pki.client(consumer)); }

    [[nodiscard]] sockaddr_in dial_address() const {
        sockaddr_in end{};
        end.sin_family = AF_INET;
        end.sin_port = htons(server->port());
        end.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return end;
    }
    [[nodiscard]] static bool can_connect(const sockaddr_in& end, int fd) {
        return ::connect(fd, reinterpret_cast<const sockaddr*>(&end), sizeof end) == 0;
    }
    [[nodiscard]] static bool can_connect(const sockaddr_in& end) {
        const UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        return can_connect(end, fd.get());
    }
    /// A plain TCP connection.
    [[nodiscard]] UniqueFd dial() const {
        UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        EXPECT_TRUE(can_connect(dial_address(), fd.get()));
        return fd;
    }

    Pki pki;
    std::unique_ptr<Server> server;
};

/// Reads until the other end closes; empty optional when it does not within the deadline.
std::optional<std::string> read_to_end(int fd, Deadline deadline) {
    std::string text;
    char chunk[4096];
    while (!deadline.passed()) {
        pollfd readable{fd, POLLIN, 0};
        if (::poll(&readable, 1, deadline.left_ms()) != 1) {
            continue;
        }
        const auto bytes = ::recv(fd, chunk, sizeof chunk, 0);
        if (bytes <= 0) {
            return text;
        }
        text.append(chunk, static_cast<std::size_t>(bytes));
    }
    return std::nullopt;
}

TEST_F(HttpsServer, answers_with_the_identity_of_the_certificate) {
    start();
    auto one = client();
    const auto answer = one.request("PUT", "/a%20b?x=1%2C2&y", {}, "hello", soon());
    ASSERT_TRUE(answer.ok()) << answer.error().text();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "PUT /a%20b analytics 5 x=1,2 y=");
    EXPECT_EQ(answer->header("X-REQUEST-ID").size(), 16U);
    EXPECT_EQ(one.server()->role, tls::Role::producer);
}

TEST_F(HttpsServer, keeps_a_connection_and_the_clients_request_id) {
    std::vector<std::string> peers;
    start([&](const Request& request) {
        peers.push_back(request.peer);
        return echo(request);
    });
    auto one = client();
    for (int i = 0; i < 3; ++i) {
        const auto answer = one.request("GET", "/", {{"X-Request-Id", "mine-7"}}, {}, soon());
        ASSERT_TRUE(answer.ok()) << answer.error().text();
        EXPECT_EQ(answer->header("x-request-id"), "mine-7");
    }
    ASSERT_EQ(peers.size(), 3U);
    EXPECT_EQ(peers[0], peers[2]);
}

TEST_F(HttpsServer, lets_a_client_without_certificate_ask_as_nobody) {
    start();
    const auto answer = client(pki.stranger()).request("POST", "/e", {}, "{}", soon());
    ASSERT_TRUE(answer.ok()) << answer.error().text();
    EXPECT_EQ(answer->body, "POST /e (nobody) 2");
}

TEST_F(HttpsServer, refuses_a_certificate_of_another_authority_and_says_so) {
    start();
    const Pki other;
    const auto context = tls::Context::client({other.issue(consumer), pki.root().certificate}).value();
    const auto answer = client(context).request("GET", "/", {}, {}, soon());
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, ErrorCode::unauthenticated) << answer.error().text();
}

TEST_F(HttpsServer, is_refused_by_a_client_that_trusts_another_authority) {
    start();
    const Pki other;
    const auto answer = client(other.client(consumer)).request("GET", "/", {}, {}, soon());
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, ErrorCode::unauthenticated) << answer.error().text();
}

TEST_F(HttpsServer, answers_plain_http_with_a_sentence) {
    start();
    const auto fd = dial();
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    const auto answer = read_to_end(fd.get(), soon());
    ASSERT_TRUE(answer.has_value());
    EXPECT_TRUE(answer->starts_with("HTTP/1.1 400 ")) << *answer;
    EXPECT_NE(answer->find("HTTPS only"), std::string::npos);
}

TEST_F(HttpsServer, cuts_a_handshake_that_does_not_come) {
    ServerSettings settings;
    settings.handshake_max = 50ms;
    start(echo, settings);
    const auto silent = dial();
    EXPECT_TRUE(read_to_end(silent.get(), soon()).has_value());
}

TEST_F(HttpsServer, refuses_a_body_that_is_too_large_and_header_that_is_too_large) {
    start();
    const auto large = client().request("PUT", "/", {}, std::string((1U << 20U) + 1, 'x'), soon());
    ASSERT_TRUE(large.ok()) << large.error().text();
    EXPECT_EQ(large->status, 413);
    const auto full = client().request("PUT", "/", {}, std::string(1U << 20U, 'x'), soon());
    ASSERT_TRUE(full.ok()) << full.error().text();
    EXPECT_EQ(full->status, 200);
    const auto header = client().request("GET", "/", {{"X-Long", std::string(20000, 'x')}}, {}, soon());
    ASSERT_TRUE(header.ok()) << header.error().text();
    EXPECT_EQ(header->status, 431);
}

/// A TLS connection that can send parts of requests.
struct Raw {
    Raw(int fd, const tls::Context& context) : ssl{SSL_new(context.native()), SSL_free} {
        SSL_set_fd(ssl.get(), fd);
        EXPECT_EQ(SSL_connect(ssl.get()), 1);
    }
    void send(std::string_view text) const {
        EXPECT_EQ(SSL_write(ssl.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
    }
    /// All that comes until the end of the connection.
    [[nodiscard]] std::string rest() const {
        std::string text;
        char chunk[4096];
        for (int bytes = 0; (bytes = SSL_read(ssl.get(), chunk, sizeof chunk)) > 0;) {
            text.append(chunk, static_cast<std::size_t>(bytes));
        }
        return text;
    }
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl;
};

TEST_F(HttpsServer, cuts_slow_headers_slow_bodies_and_idle_connections) {
    ServerSettings settings;
    settings.header_max = 50ms;
    settings.body_max = 50ms;
    settings.idle_max = 50ms;
    start(echo, settings);
    for (const std::string part : {"GET / HT", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", ""}) {
        const auto fd = dial();
        const Raw raw{fd.get(), pki.client(consumer)};
        raw.send(part.empty() ? "GET /x HTTP/1.1\r\nHost: x\r\n\r\n" : part);
        const auto answer = raw.rest(); // returns, because the server cuts the connection
        EXPECT_EQ(answer.find("HTTP/1.1 200") != std::string::npos, part.empty()) << answer;
    }
}

TEST_F(HttpsServer, answers_nonsense_with_400) {
    start();
    for (const std::string text : {"\x01\x02\x03\r\n\r\n",
                                   "GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
                                   "GET /?a=%zz HTTP/1.1\r\nHost: x\r\n\r\n"}) {
        const auto fd = dial();
        const Raw raw{fd.get(), pki.client(consumer)};
        raw.send(text);
        EXPECT_TRUE(raw.rest().starts_with("HTTP/1.1 400 ")) << text;
    }
}

TEST_F(HttpsServer, sends_files_and_answers_head_without_body) {
    const auto folder = std::filesystem::temp_directory_path() / random_hex(8);
    std::filesystem::create_directories(folder);
    const std::string content(3'000'000, 'm');
    ASSERT_TRUE(replace_file(folder / "model", content).ok());
    start([&](const Request& request) {
        Response response;
        if (request.path == "/model") {
            response.file = folder / "model";
        } else {
            response.status = 404;
        }
        return response;
    });
    auto one = client();
    const auto answer = one.download("/model", {}, folder / "copy", 10'000'000, soon());
    ASSERT_TRUE(answer.ok()) << answer.error().text();
    EXPECT_EQ(sha256_file(folder / "copy").value(), sha256_hex(content));
    const auto head = one.request("HEAD", "/model", {}, {}, soon());
    ASSERT_TRUE(head.ok()) << head.error().text();
    EXPECT_EQ(head->header("content-length"), "3000000");
    EXPECT_EQ(head->body, "");
    EXPECT_EQ(one.request("HEAD", "/none", {}, {}, soon())->status, 404);
    const auto large = one.download("/model", {}, folder / "copy", 1000, soon());
    EXPECT_EQ(large.error().code, ErrorCode::resource_exhausted);
    EXPECT_FALSE(std::filesystem::exists(folder / "copy"));
    std::filesystem::remove_all(folder);
}

TEST_F(HttpsServer, turns_an_exception_into_500_and_goes_on) {
    start([](const Request& request) -> Response {
        if (request.path == "/broken") {
            throw std::runtime_error{"secret detail"};
        }
        return echo(request);
    });
    auto one = client();
    const auto answer = one.request("GET", "/broken", {}, {}, soon());
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->status, 500);
    EXPECT_EQ(answer->body.find("secret"), std::string::npos);
    EXPECT_EQ(one.request("GET", "/", {}, {}, soon())->status, 200);
}

TEST_F(HttpsServer, answers_503_when_handlers_are_all_busy_and_still_accepts) {
    ServerSettings settings;
    settings.requests_max = 1;
    settings.handler_threads = 1;
    std::latch entered{1};
    std::latch leave{1};
    start(
        [&](const Request& request) {
            if (request.path == "/slow") {
                entered.count_down();
                leave.wait();
            }
            return echo(request);
        },
        settings);
    std::jthread slow{[&] { EXPECT_EQ(client().request("GET", "/slow", {}, {}, soon())->status, 200); }};
    entered.wait();
    const auto answer = client().request("GET", "/", {}, {}, soon());
    leave.count_down();
    ASSERT_TRUE(answer.ok()) << answer.error().text();
    EXPECT_EQ(answer->status, 503);
    EXPECT_FALSE(answer->header("retry-after").empty());
}

TEST_F(HttpsServer, limits_connections_and_frees_their_places) {
    ServerSettings settings;
    settings.connections_max = 1;
    start(echo, settings);
    {
        auto one = client();
        ASSERT_EQ(one.request("GET", "/", {}, {}, soon())->status, 200);
        const auto second = client().request("GET", "/", {}, {}, soon());
        EXPECT_FALSE(second.ok());
    }
    const auto deadline = soon();
    bool served = false;
    while (!served && !deadline.passed()) {
        served = client().request("GET", "/", {}, {}, soon()).ok();
    }
    EXPECT_TRUE(served);
}

TEST_F(HttpsServer, finishes_requests_under_way_when_it_stops) {
    std::latch entered{1};
    std::latch leave{1};
    start([&](const Request& request) {
        entered.count_down();
        leave.wait();
        return echo(request);
    });
    std::jthread one{[&] {
        const auto answer = client().request("GET", "/last", {}, {}, soon());
        ASSERT_TRUE(answer.ok()) << answer.error().text();
        EXPECT_EQ(answer->header("connection"), "close");
    }};
    entered.wait();
    std::jthread stopper{[&] { server->stop(); }};
    const auto deadline = soon();
    while (can_connect(dial_address()) && !deadline.passed()) {
    }
    leave.count_down();
    one.join();
    stopper.join();
    EXPECT_EQ(client().request("GET", "/", {}, {}, soon()).error().code, ErrorCode::unavailable);
}

TEST_F(HttpsServer, uses_a_replaced_context_for_new_connections) {
    start();
    auto old = client();
    ASSERT_EQ(old.request("GET", "/", {}, {}, soon())->status, 200);
    const Pki other;
    server->replace_context(other.server());
    EXPECT_EQ(old.request("GET", "/", {}, {}, soon())->status, 200);
    EXPECT_FALSE(client().request("GET", "/", {}, {}, soon()).ok());
    EXPECT_EQ(client(other.client(consumer)).request("GET", "/", {}, {}, soon())->status, 200);
}

TEST_F(HttpsServer, reopens_a_connection_that_the_server_closed_while_idle) {
    ServerSettings settings;
    settings.idle_max = 50ms;
    start(echo, settings);
    auto one = client();
    const auto deadline = soon();
    std::string first;
    for (int i = 0; i < 2; ++i) {
        const auto answer = one.request("POST", "/", {}, "x", soon());
        ASSERT_TRUE(answer.ok()) << answer.error().text();
        // Wait until the server has closed: a second client's connection, opened later, is closed too.
        const auto fd = dial();
        const Raw raw{fd.get(), pki.client(consumer)};
        EXPECT_EQ(raw.rest(), "");
    }
    EXPECT_FALSE(deadline.passed());
}

TEST(HttpsClient, names_cause_and_remedy_when_nobody_listens_or_answers) {
    const Pki pki;
    HttpsClient nobody{{"127.0.0.1", 1}, pki.client(consumer)};
    const auto refused = nobody.request("GET", "/", {}, {}, soon());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_NE(refused.error().message.find("is the server running"), std::string::npos) << refused.error().message;

    const UniqueFd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in end{};
    end.sin_family = AF_INET;
    end.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof end;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&end), sizeof end), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&end), &size), 0);
    HttpsClient silent{{"127.0.0.1", ntohs(end.sin_port)}, pki.client(consumer)};
    const auto late = silent.request("GET", "/", {}, {}, Deadline::after(50ms));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, ErrorCode::deadline_exceeded) << late.error().text();
}

TEST_F(HttpsServer, is_accepted_only_as_what_it_is) {
    server = std::make_unique<Server>(
        ServerSettings{.address = "127.0.0.1"},
        tls::Context::server({pki.issue(consumer), pki.root().certificate}, tls::ClientCertificate::optional).value(),
        echo,
        Upgrade{});
    ASSERT_TRUE(server->start().ok());
    const auto answer = client().request("GET", "/", {}, {}, soon());
    ASSERT_FALSE(answer.ok());
    EXPECT_NE(answer.error().message.find("not a producer"), std::string::npos) << answer.error().message;
    HttpsClient by_host{{"127.0.0.1", server->port(), link::PeerCheck::host}, pki.client(consumer)};
    EXPECT_FALSE(by_host.request("GET", "/", {}, {}, soon()).ok());
}

} // namespace
} // namespace muster::rest
