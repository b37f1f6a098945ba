#include "tls/context.h"

#include "tls/peer_check.h"

#include <openssl/err.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <span>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace muster::tls {
namespace {

constexpr int chain_depth_max = 4;

bool has_aes_instructions() {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
    constexpr unsigned long hwcap_aes = 1UL << 3U;
    return (getauxval(AT_HWCAP) & hwcap_aes) != 0;
#else
    return false;
#endif
}

/// OpenSSL writes with write(), which has no MSG_NOSIGNAL: a peer that hangs up must not end the process.
void ignore_broken_pipes() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction current {};
        if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
            current.sa_handler = SIG_IGN;
            sigaction(SIGPIPE, &current, nullptr);
        }
    });
}

std::shared_ptr<SSL_CTX> new_context(const SSL_METHOD* method) {
    ignore_broken_pipes();
    ERR_clear_error();
    std::shared_ptr<SSL_CTX> context{SSL_CTX_new(method), SSL_CTX_free};
    SSL_CTX* raw = context.get();
    require(raw != nullptr && SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_ciphersuites(raw,
                                         has_aes_instructions()
                                             ? "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
                                             : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") == 1 &&
                SSL_CTX_set1_groups_list(raw, "P-256") == 1 && SSL_CTX_set_num_tickets(raw, 0) == 1,
            "make a TLS context");
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    // PRIORITIZE_CHACHA: a client without AES instructions puts ChaCha20 first, and the server follows it.
    SSL_CTX_set_options(raw,
                        SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                            SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(raw, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify_depth(raw, chain_depth_max);
    return context;
}

/// Trusts the certificates, and names them to peers so that they pick the right one of theirs.
Result<void> set_trust(SSL_CTX* context, const std::vector<X509Ptr>& trusted) {
    if (trusted.empty()) {
        return Error{ErrorCode::invalid_argument, "there is no trusted CA certificate in PEM form", "trust"};
    }
    for (const X509Ptr& certificate : trusted) {
        require(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get()) == 1 &&
                    SSL_CTX_add_client_CA(context, certificate.get()) == 1,
                "trust a CA");
    }
    return {};
}

/// Sends the whole chain, the root included: a peer that knows only the root's fingerprint needs it.
Result<void> set_own(SSL_CTX* context, const KeyPair& own, const std::vector<X509Ptr>& trusted) {
    const auto chain = read_certificates(own.certificate);
    const PkeyPtr key = read_key(own.key.reveal());
    if (chain.empty() || key == nullptr) {
        return Error{ErrorCode::invalid_argument,
                     chain.empty() ? "there is no certificate in PEM form"
                                   : "there is no usable private key (PEM, without a pass phrase)",
                     chain.empty() ? "certificate" : "key"};
    }
    const bool usable = SSL_CTX_use_certificate(context, chain.front().get()) == 1 &&
                        SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
    if (!usable) {
        const unsigned long error = ERR_peek_last_error();
        ERR_clear_error();
        const char* words = ERR_reason_error_string(error);
        return Error{ErrorCode::invalid_argument,
                     std::string{"certificate and private key do not belong together or are too weak ("} +
                         (words == nullptr ? "unknown" : words) + ")",
                     "key"};
    }
    for (const X509Ptr& above : std::span{chain}.subspan(1)) {
        require(SSL_CTX_add1_chain_cert(context, above.get()) == 1, "send a certificate chain");
    }
    X509* last = chain.back().get();
    for (const X509Ptr& root : trusted) {
        if (X509_check_issued(last, last) != X509_V_OK && X509_check_issued(root.get(), last) == X509_V_OK) {
            require(SSL_CTX_add1_chain_cert(context, root.get()) == 1, "send a certificate chain");
            break;
        }
    }
    ERR_clear_error();
    return {};
}

/// Index of the pinned fingerprint among a context's extra data (Asio deletes index 0 as its own).
int pin_index() {
    static const int index = SSL_CTX_get_ex_new_index(
        0, nullptr, nullptr, nullptr, [](void* /*context*/, void* data, CRYPTO_EX_DATA*, int, long, void*) {
            delete static_cast<std::string*>(data);
        });
    return index;
}

/// Verifies a server's chain with the pinned root, found in that very chain, as the only trusted certificate.
int verify_pinned(X509_STORE_CTX* check, void* /*argument*/) {
    auto* connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* pin = static_cast<const std::string*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), pin_index()));
    STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(check);
    const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> trusted{
        sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); }};
    for (int i = 0; trusted != nullptr && i < sk_X509_num(sent); ++i) {
        X509* certificate = sk_X509_value(sent, i);
        if (X509_check_ca(certificate) == 1 && fingerprint_of(certificate) == *pin) {
            sk_X509_push(trusted.get(), certificate);
            break;
        }
    }
    if (trusted == nullptr || sk_X509_num(trusted.get()) == 0) {
        const int last = sk_X509_num(sent) - 1;
        remember_refusal(connection,
                         "the server's CA is not the pinned one (pinned " + *pin + ", the server's " +
                             (last < 0 ? "unknown" : fingerprint_of(sk_X509_value(sent, last))) +
                             "); check address and fingerprint: this may be another producer");
        X509_STORE_CTX_set_error(check, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(check, trusted.get());
    const int verdict = X509_verify_cert(check);
    X509_STORE_CTX_set0_trusted_stack(check, nullptr);
    return verdict == 1 ? 1 : 0;
}

Result<std::string> normal_fingerprint(const std::string& text) {
    std::string hex;
    for (const char letter : text) {
        if (letter != ':') {
            hex += static_cast<char>(letter >= 'A' && letter <= 'F' ? letter - 'A' + 'a' : letter);
        }
    }
    const bool good = hex.size() == 64 && std::ranges::all_of(hex, [](char letter) {
                          return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
                      });
    if (!good) {
        return Error{ErrorCode::invalid_argument,
                     "a CA's fingerprint is its SHA-256: 64 hexadecimal digits (muster ca prints it)",
                     "fingerprint"};
    }
    return hex;
}

} // namespace

Result<Context> Context::server(const Credentials& credentials, ClientCertificate client) {
    auto context = new_context(TLS_server_method());
    const auto trusted = read_certificates(credentials.trust);
    if (auto done = set_trust(context.get(), trusted); !done) {
        return done.error();
    }
    if (auto done = set_own(context.get(), credentials.own, trusted); !done) {
        return done.error();
    }
    const int insist = client == ClientCertificate::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | insist, remember_refusal);
    return Context{std::move(context)};
}

Result<Context> Context::client(const Credentials& credentials) {
    auto context = new_context(TLS_client_method());
    const auto trusted = read_certificates(credentials.trust);
    if (auto done = set_trust(context.get(), trusted); !done) {
        return done.error();
    }
    if (!credentials.own.certificate.empty()) {
        if (auto done = set_own(context.get(), credentials.own, trusted); !done) {
            return done.error();
        }
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, remember_refusal);
    return Context{std::move(context)};
}

Result<Context> Context::pinned_client(const std::string& root_fingerprint) {
    auto fingerprint = normal_fingerprint(root_fingerprint);
    if (!fingerprint) {
        return fingerprint.error();
    }
    auto context = new_context(TLS_client_method());
    auto pin = std::make_unique<std::string>(std::move(*fingerprint));
    require(SSL_CTX_set_ex_data(context.get(), pin_index(), pin.get()) == 1, "pin a root");
    (void)pin.release(); // now the context's
    SSL_CTX_set_cert_verify_callback(context.get(), verify_pinned, nullptr);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, remember_refusal);
    return Context{std::move(context)};
}

Result<Identity> peer_identity(ssl_st* connection) {
    const X509* certificate = SSL_get0_peer_certificate(connection);
    if (certificate == nullptr || SSL_get_verify_result(connection) != X509_V_OK) {
        return Error{ErrorCode::unauthenticated,
                     "a client certificate is needed here; use one of the CA that this port trusts, or enrol first"};
    }
    auto san = chosen_san(sans_of(certificate));
    if (!san) {
        return san.error();
    }
    if (san->empty()) {
        return Error{ErrorCode::unauthenticated,
                     "the certificate (" + text_of(X509_get_subject_name(certificate)) +
                         ") has no subject alternative name, so it speaks for nobody"};
    }
    return parse_identity(*san);
}

std::string peer_serial(ssl_st* connection) {
    const X509* certificate = SSL_get0_peer_certificate(connection);
    return certificate == nullptr ? "" : serial_of(certificate);
}

bool peer_has_host(ssl_st* connection, const std::string& host) {
    X509* certificate = SSL_get0_peer_certificate(connection);
    if (certificate == nullptr || SSL_get_verify_result(connection) != X509_V_OK) {
        return false;
    }
    const bool found =
        X509_check_ip_asc(certificate, host.c_str(), 0) == 1 ||
        X509_check_host(certificate, host.data(), host.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
    ERR_clear_error();
    return found;
}

} // namespace muster::tls
