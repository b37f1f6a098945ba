/// Keys, certificate requests and certificates: P-256, ECDSA with SHA-256 (3GPP TS 33.210 6.2, TS 33.310 6.1.3a).
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "tls/identity.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace muster::tls {

/// A private key as PEM. Prints as "***".
using KeyPem = Secret;

/// A certificate (leaf first, then its chain) and its private key, as PEM.
struct KeyPair {
    std::string certificate;
    KeyPem key;
};

/// Makes a new P-256 key.
[[nodiscard]] KeyPem make_key();
/// Makes a PKCS#10 request signed by `key`, with `uri` as its only SAN. Errors: invalid_argument, bad key.
[[nodiscard]] Result<std::string> make_request(const KeyPem& key, std::string_view uri);

/// What an authority writes into a certificate; nothing is taken from the request but its public key.
struct CertificateSpec {
    std::string uri{};                ///< SAN URI; may be empty when there are hosts
    std::vector<std::string> hosts{}; ///< further SANs: DNS names or IP addresses (producer)
    std::chrono::seconds lifetime{};
    std::chrono::seconds backdate{300}; ///< validity starts this much in the past, for clocks that differ
};

/// A certificate authority: a self-signed root. Safe from any thread.
class Authority {
public:
    /// Makes a root valid for `lifetime`, named `common_name`. `now` is wall time.
    [[nodiscard]] static KeyPair make_root(std::string_view common_name, std::chrono::seconds lifetime, WallTime now);
    /// Errors: invalid_argument, when the PEM texts are not a CA certificate and its key.
    [[nodiscard]] static Result<Authority> open(KeyPair root);

    /// Signs the public key of a PKCS#10 request (its self-signature is checked). EKU server and client. Returns the
    /// leaf followed by the root, fit for KeyPair::certificate; it ends no later than the root.
    /// Errors: invalid_argument, when the request is not one.
    [[nodiscard]] Result<std::string>
    sign(std::string_view request_pem, const CertificateSpec& spec, WallTime now) const;
    /// Makes a key and its certificate (leaf, then root) in one step. Errors: invalid_argument.
    [[nodiscard]] Result<KeyPair> issue(const CertificateSpec& spec, WallTime now) const;
    /// The root's certificate, PEM.
    [[nodiscard]] const std::string& certificate() const { return root_.certificate; }

private:
    explicit Authority(KeyPair root) : root_{std::move(root)} {}
    KeyPair root_;
};

/// What people and `doctor` want to know of a certificate (the first of a PEM text).
struct CertificateInfo {
    Identity identity;
    std::vector<std::string> sans;
    std::string subject;
    std::string issuer;
    std::string serial; ///< hex
    WallTime not_before;
    WallTime not_after;
    std::string fingerprint; ///< SHA-256 of the DER, lower-case hex
};

/// Errors: invalid_argument, when there is no certificate in the text.
[[nodiscard]] Result<CertificateInfo> inspect(std::string_view certificate_pem);

/// Signs `message` with ECDSA-SHA256; DER signature. Errors: invalid_argument, bad key.
[[nodiscard]] Result<std::string> sign_message(const KeyPem& key, std::string_view message);
/// Says whether `signature` over `message` was made by the key of the first certificate of the PEM text.
[[nodiscard]] bool
verify_message(std::string_view certificate_pem, std::string_view message, std::string_view signature);

} // namespace muster::tls
