#include "tls/context.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>

namespace muster::tls {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";

using SslPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

/// One end of a connection in memory, and how its handshake ended.
struct End {
    explicit End(SSL_CTX* context) : ssl{SSL_new(context), SSL_free} {}
    SslPtr ssl;
    bool done{false};
    std::string failure{};

    /// Goes on as far as the bytes at hand allow: handshake first, then one byte from the server to the client, by
    /// which a client learns whether its certificate was accepted.
    void step() {
        if (done || !failure.empty()) {
            return;
        }
        int result = SSL_do_handshake(ssl.get());
        char byte = 'x';
        if (result == 1) {
            result = SSL_is_server(ssl.get()) == 1 ? SSL_write(ssl.get(), &byte, 1) : SSL_read(ssl.get(), &byte, 1);
        }
        const int error = SSL_get_error(ssl.get(), result);
        done = result == 1;
        if (!done && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            failure = handshake_failure(ssl.get(), error);
            EXPECT_EQ(ERR_peek_error(), 0U) << "the error queue must be clear";
        }
    }
};

struct Meeting {
    Meeting(SSL_CTX* server_context, SSL_CTX* client_context) : server{server_context}, client{client_context} {
        BIO* one = nullptr;
        BIO* two = nullptr;
        BIO_new_bio_pair(&one, 1 << 16, &two, 1 << 16);
        SSL_set_bio(server.ssl.get(), one, one);
        SSL_set_bio(client.ssl.get(), two, two);
        SSL_set_accept_state(server.ssl.get());
        SSL_set_connect_state(client.ssl.get());
        for (int round = 0; round < 20; ++round) {
            client.step();
            server.step();
        }
    }
    [[nodiscard]] bool good() const { return server.done && client.done; }
    End server;
    End client;
};

class Contexts : public testing::Test {
protected:
    WallTime now_ = std::chrono::system_clock::now();
    Authority authority_ = Authority::open(Authority::make_root("Muster CA", 24h, now_)).value();
    Authority job_authority_ = Authority::open(Authority::make_root("Job CA", 24h, now_)).value();
    KeyPair producer_ = authority_
                            .issue({.uri = producer_uri("SubNetwork=1,MLTrainingFunction=mlt"),
                                    .hosts = {"localhost", "127.0.0.1"},
                                    .lifetime = 1h},
                                   now_)
                            .value();
    KeyPair function_ = authority_.issue({.uri = function_uri(gnb), .lifetime = 1h}, now_).value();

    [[nodiscard]] Context server(ClientCertificate client = ClientCertificate::required) const {
        return Context::server({producer_, authority_.certificate()}, client).value();
    }
    [[nodiscard]] Context client(const KeyPair& own) const {
        return Context::client({own, authority_.certificate()}).value();
    }
    [[nodiscard]] Meeting meet(const KeyPair& client_own) const {
        return Meeting{server().native(), client(client_own).native()};
    }
    [[nodiscard]] std::string root_fingerprint() const { return inspect(authority_.certificate())->fingerprint; }
};

void expect_holds(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST_F(Contexts, good_handshake_is_tls_1_3_and_both_sides_know_each_other) {
    const Meeting meeting = meet(function_);
    ASSERT_TRUE(meeting.good()) << meeting.server.failure << meeting.client.failure;
    EXPECT_EQ(peer_identity(meeting.server.ssl.get()).value(), parse_identity(function_uri(gnb)));
    EXPECT_EQ(peer_serial(meeting.server.ssl.get()), inspect(function_.certificate)->serial);
    EXPECT_EQ(peer_identity(meeting.client.ssl.get())->role, Role::producer);
    EXPECT_TRUE(peer_has_host(meeting.client.ssl.get(), "localhost"));
    EXPECT_TRUE(peer_has_host(meeting.client.ssl.get(), "127.0.0.1"));
    EXPECT_FALSE(peer_has_host(meeting.client.ssl.get(), "127.0.0.2"));
    EXPECT_FALSE(peer_has_host(meeting.client.ssl.get(), "example.org"));
    EXPECT_STREQ(SSL_get_version(meeting.client.ssl.get()), "TLSv1.3");
    const std::string cipher = SSL_get_cipher_name(meeting.client.ssl.get());
    EXPECT_TRUE(cipher == "TLS_AES_128_GCM_SHA256" || cipher == "TLS_CHACHA20_POLY1305_SHA256") << cipher;
    EXPECT_EQ(SSL_get_negotiated_group(meeting.client.ssl.get()), NID_X9_62_prime256v1);
    EXPECT_EQ(SSL_SESSION_has_ticket(SSL_get_session(meeting.client.ssl.get())), 0);
    EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(meeting.client.ssl.get())), 2) << "leaf and root";
}

TEST_F(Contexts, a_client_of_another_ca_is_refused_with_the_reason_on_both_sides) {
    const KeyPair stranger = job_authority_.issue({.uri = function_uri(gnb), .lifetime = 1h}, now_).value();
    const Meeting meeting = meet(stranger);
    ASSERT_FALSE(meeting.good());
    expect_holds(meeting.server.failure, "is from a CA that is not trusted here (issuer CN=Job CA)");
    expect_holds(meeting.server.failure, function_uri(gnb));
    expect_holds(meeting.client.failure, "the peer does not trust the CA of this side's certificate");
}

TEST_F(Contexts, a_job_certificate_is_refused_where_the_operator_ca_is_trusted) {
    const KeyPair job = job_authority_.issue({.uri = job_uri("job-1", gnb), .lifetime = 1h}, now_).value();
    const Meeting meeting = meet(job);
    ASSERT_FALSE(meeting.good());
    expect_holds(meeting.server.failure, "not trusted here");
    EXPECT_FALSE(peer_identity(meeting.server.ssl.get()));
}

TEST_F(Contexts, a_server_of_another_ca_is_refused_by_the_client) {
    const auto other = Context::client({function_, job_authority_.certificate()});
    const Meeting meeting{server().native(), other->native()};
    ASSERT_FALSE(meeting.good());
    expect_holds(meeting.client.failure, "not trusted here (issuer CN=Muster CA)");
    expect_holds(meeting.server.failure, "does not trust the CA");
}

TEST_F(Contexts, without_a_certificate_required_refuses_and_optional_knows_nobody) {
    const Context nobody = client({});
    const Meeting refused{server().native(), nobody.native()};
    ASSERT_FALSE(refused.good());
    expect_holds(refused.server.failure, "the peer sent no certificate");
    expect_holds(refused.client.failure, "demands a client certificate");

    const Meeting meeting{server(ClientCertificate::optional).native(), nobody.native()};
    ASSERT_TRUE(meeting.good()) << meeting.server.failure;
    EXPECT_EQ(peer_identity(meeting.server.ssl.get()).error().code, ErrorCode::unauthenticated);
}

TEST_F(Contexts, optional_still_refuses_a_certificate_of_another_ca) {
    const KeyPair stranger = job_authority_.issue({.uri = function_uri(gnb), .lifetime = 1h}, now_).value();
    const Meeting meeting{server(ClientCertificate::optional).native(), client(stranger).native()};
    EXPECT_FALSE(meeting.good());
}

TEST_F(Contexts, expired_and_not_yet_valid_say_so_and_point_at_the_clock) {
    const Meeting expired = meet(authority_.issue({.uri = function_uri(gnb), .lifetime = 1h}, now_ - 2h).value());
    ASSERT_FALSE(expired.good());
    expect_holds(expired.server.failure, "has expired on");
    expect_holds(expired.client.failure, "has expired or is not valid yet; renew it");

    const Meeting early = meet(authority_.issue({.uri = function_uri(gnb), .lifetime = 1h}, now_ + 2h).value());
    ASSERT_FALSE(early.good());
    expect_holds(early.server.failure, "is not valid before");
    expect_holds(early.server.failure, "clocks is wrong");
}

TEST_F(Contexts, pinned_client_trusts_the_root_with_that_fingerprint_only) {
    const Context server_context = server(ClientCertificate::optional);
    std::string shouted;
    for (const char letter : root_fingerprint()) {
        shouted += static_cast<char>(std::toupper(letter));
        shouted += shouted.size() % 3 == 2 ? ":" : "";
    }
    shouted.pop_back();
    for (const std::string& pin : {root_fingerprint(), shouted}) {
        const Context pinned = Context::pinned_client(pin).value();
        const Meeting good{server_context.native(), pinned.native()};
        EXPECT_TRUE(good.good()) << good.client.failure;
        EXPECT_EQ(peer_identity(good.client.ssl.get())->role, Role::producer);
    }
    const Context wrong = Context::pinned_client(inspect(job_authority_.certificate())->fingerprint).value();
    const Meeting bad{server_context.native(), wrong.native()};
    ASSERT_FALSE(bad.good());
    expect_holds(bad.client.failure, "the server's CA is not the pinned one");
    expect_holds(bad.client.failure, root_fingerprint());
    // The leaf's own fingerprint is no root's.
    const Context leaf = Context::pinned_client(inspect(producer_.certificate)->fingerprint).value();
    EXPECT_FALSE((Meeting{server_context.native(), leaf.native()}).good());
    EXPECT_FALSE(Context::pinned_client("abc"));
}

TEST_F(Contexts, pinned_client_still_checks_dates_and_signatures) {
    const KeyPair old = authority_.issue({.uri = producer_uri("x"), .lifetime = 1h}, now_ - 2h).value();
    const Context server_context =
        Context::server({old, authority_.certificate()}, ClientCertificate::optional).value();
    const Context pinned = Context::pinned_client(root_fingerprint()).value();
    const Meeting expired{server_context.native(), pinned.native()};
    ASSERT_FALSE(expired.good());
    expect_holds(expired.client.failure, "has expired");

    // A liar sends the pinned root behind a leaf that another CA signed.
    KeyPair liar = job_authority_.issue({.uri = producer_uri("x"), .lifetime = 1h}, now_).value();
    liar.certificate =
        liar.certificate.substr(0, liar.certificate.find("-----END CERTIFICATE-----") + 26) + authority_.certificate();
    const Context lying = Context::server({liar, job_authority_.certificate()}, ClientCertificate::optional).value();
    const Meeting refused{lying.native(), pinned.native()};
    ASSERT_FALSE(refused.good());
}

TEST_F(Contexts, plain_http_and_other_noise_are_named) {
    for (const auto& [bytes, words] : {std::pair{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks plain HTTP"},
                                       std::pair{"\x01\x02\x03 this is not TLS at all", "does not speak TLS"}}) {
        const Context context = server();
        const SslPtr ssl{SSL_new(context.native()), SSL_free};
        BIO* in = BIO_new(BIO_s_mem());
        BIO_write(in, bytes, static_cast<int>(std::string_view{bytes}.size()));
        SSL_set_bio(ssl.get(), in, BIO_new(BIO_s_mem()));
        const int result = SSL_accept(ssl.get());
        ASSERT_LE(result, 0);
        expect_holds(handshake_failure(ssl.get(), SSL_get_error(ssl.get(), result)), words);
    }
}

TEST_F(Contexts, older_tls_is_refused_on_both_sides) {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> old{SSL_CTX_new(TLS_client_method()), SSL_CTX_free};
    SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
    const Meeting meeting{server().native(), old.get()};
    ASSERT_FALSE(meeting.good());
    expect_holds(meeting.server.failure, "only TLS versions older than 1.3");
    expect_holds(meeting.client.failure, "does not accept TLS 1.3"); // an old client sees the same alert
}

TEST_F(Contexts, a_peer_that_hangs_up_is_named_and_raises_no_signal) {
    int fds[2] = {-1, -1};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    close(fds[1]);
    const Context context = client(function_);
    const SslPtr ssl{SSL_new(context.native()), SSL_free};
    SSL_set_fd(ssl.get(), fds[0]);
    const int result = SSL_connect(ssl.get()); // would end the process, if SIGPIPE were not ignored
    const std::string failure = handshake_failure(ssl.get(), SSL_get_error(ssl.get(), result));
    expect_holds(failure, "the connection broke: Broken pipe");
    close(fds[0]);

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    shutdown(fds[1], SHUT_WR);
    const SslPtr other{SSL_new(context.native()), SSL_free};
    SSL_set_fd(other.get(), fds[0]);
    const int ended = SSL_connect(other.get());
    expect_holds(handshake_failure(other.get(), SSL_get_error(other.get(), ended)), "closed the connection");
    close(fds[0]);
    close(fds[1]);
}

TEST_F(Contexts, an_error_that_asio_has_taken_from_the_queue_is_explained_as_well) {
    const Context context = server();
    const SslPtr ssl{SSL_new(context.native()), SSL_free};
    BIO* in = BIO_new(BIO_s_mem());
    BIO_puts(in, "GET / HTTP/1.1\r\n\r\n");
    SSL_set_bio(ssl.get(), in, BIO_new(BIO_s_mem()));
    ASSERT_LE(SSL_accept(ssl.get()), 0);
    expect_holds(handshake_failure_of(ssl.get(), ERR_get_error()), "speaks plain HTTP");
    ERR_clear_error();
}

TEST_F(Contexts, a_foreign_san_is_an_identity_of_role_other) {
    const KeyPair foreign =
        authority_.issue({.uri = "", .hosts = {"oss.operator.example", "10.1.1.1"}, .lifetime = 1h}, now_).value();
    const Meeting meeting = meet(foreign);
    ASSERT_TRUE(meeting.good()) << meeting.server.failure;
    EXPECT_EQ(peer_identity(meeting.server.ssl.get()).value(),
              (Identity{Role::other, "", "", "DNS:oss.operator.example"}));
}

TEST_F(Contexts, bad_credentials_are_refused_with_the_place) {
    EXPECT_EQ(Context::server({{}, authority_.certificate()}, ClientCertificate::required).error().where,
              "certificate");
    EXPECT_EQ(Context::server({producer_, "no PEM"}, ClientCertificate::required).error().where, "trust");
    EXPECT_EQ(Context::client({{producer_.certificate, function_.key}, authority_.certificate()}).error().where, "key");
    EXPECT_EQ(Context::client({{producer_.certificate, KeyPem{}}, authority_.certificate()}).error().where, "key");
    EXPECT_EQ(ERR_peek_error(), 0U);
}

} // namespace
} // namespace muster::tls
