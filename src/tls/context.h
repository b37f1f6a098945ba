/// TLS 1.3 contexts with mutual authentication, verified peers, and reasons in plain words.
#pragma once

#include "base/result.h"
#include "tls/identity.h"
#include "tls/keys.h"

#include <memory>
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace muster::tls {

/// Whether a server insists on a client certificate. `optional` exists for enrolment alone: the
/// producer's port refuses everything else from a peer without one.
enum class ClientCertificate { required, optional };

/// What a context is made of.
struct Credentials {
    KeyPair own;         ///< empty certificate: a client that is not enrolled yet
    std::string trust{}; ///< PEM of the CA certificates that peers must chain to
};

/// An SSL_CTX of ours: TLS 1.3 only, AES-128-GCM first (ChaCha20-Poly1305 first without AES instructions),
/// P-256, peer verification on, no session tickets, no renegotiation, SIGPIPE never raised by us.
/// Immutable after it was made; safe from any thread.
class Context {
public:
    [[nodiscard]] static Result<Context> server(const Credentials& credentials, ClientCertificate client);
    [[nodiscard]] static Result<Context> client(const Credentials& credentials);
    /// A client that trusts exactly the root with this SHA-256 fingerprint (hex), which the server must
    /// send in its chain: for enrolment, before any CA is known.
    [[nodiscard]] static Result<Context> pinned_client(const std::string& root_fingerprint);

    /// Borrowed; lives as long as a copy of this Context.
    [[nodiscard]] ssl_ctx_st* native() const { return context_.get(); }

private:
    explicit Context(std::shared_ptr<ssl_ctx_st> context) : context_{std::move(context)} {}
    std::shared_ptr<ssl_ctx_st> context_;
};

/// Reads the identity of a peer after the handshake: the only muster:// SAN of its certificate, or else its first URI,
/// or else its first SAN. Errors: unauthenticated, when it has no verified certificate, no SAN or two muster:// ones.
[[nodiscard]] Result<Identity> peer_identity(ssl_st* connection);
/// The serial number of the peer's certificate, hexadecimal as in CertificateInfo; "" without one. For revocation.
[[nodiscard]] std::string peer_serial(ssl_st* connection);
/// Says whether the peer's certificate has this host as DNS or IP SAN.
[[nodiscard]] bool peer_has_host(ssl_st* connection, const std::string& host);
/// Explains why a handshake failed, with cause and remedy in plain words: no certificate, wrong CA,
/// expired, not yet valid (clock), plain text, wrong version, closed. Clears OpenSSL's error queue.
/// `ssl_error` is SSL_get_error's answer. A client learns only from its first read that the server refused its
/// certificate (TLS 1.3), so this serves for failed reads as well.
[[nodiscard]] std::string handshake_failure(ssl_st* connection, int ssl_error);
/// The same for a library that has taken the error from OpenSSL's queue already (Asio: error_code::value() of the SSL
/// category). 0 means that the connection ended without an error of TLS.
[[nodiscard]] std::string handshake_failure_of(ssl_st* connection, unsigned long openssl_error);

} // namespace muster::tls
