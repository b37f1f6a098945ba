/// OpenSSL's objects with one owner each, and PEM texts to and from them. Private to tls: includes OpenSSL.
#pragma once

#include "base/result.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace muster::tls {

/// Calls an OpenSSL free function as a deleter.
template <auto free_function>
struct Free {
    template <typename T>
    void operator()(T* object) const {
        free_function(object);
    }
};

using BioPtr = std::unique_ptr<BIO, Free<BIO_free_all>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
using GeneralNamePtr = std::unique_ptr<GENERAL_NAME, Free<GENERAL_NAME_free>>;

/// Throws std::runtime_error with OpenSSL's reason, when `holds` is false: for what fails only without memory or
/// with a broken OpenSSL. Clears the error queue.
void require(bool holds, const char* doing);

/// A memory BIO that reads `text`, which must outlive it.
[[nodiscard]] BioPtr reader_of(std::string_view text);
[[nodiscard]] std::string text_of(BIO* memory);

/// Reads a private key; never asks for a pass phrase. Returns null, when there is none.
[[nodiscard]] PkeyPtr read_key(std::string_view pem);
/// Reads every certificate of a PEM text, in order; empty, when there is none.
[[nodiscard]] std::vector<X509Ptr> read_certificates(std::string_view pem);
[[nodiscard]] RequestPtr read_request(std::string_view pem);

[[nodiscard]] std::string to_pem(X509* certificate);
/// SHA-256 of the DER, lower-case hexadecimal.
[[nodiscard]] std::string fingerprint_of(const X509* certificate);
/// The serial number, lower-case hexadecimal.
[[nodiscard]] std::string serial_of(const X509* certificate);
/// The whole name on one line, e.g. "CN=Muster CA".
[[nodiscard]] std::string text_of(const X509_NAME* name);
/// Every SAN, as it is written in Identity::uri: URIs bare, others as "DNS:host", "IP:1.2.3.4", "email:a@b".
[[nodiscard]] std::vector<std::string> sans_of(const X509* certificate);
/// The SAN that speaks for the holder: the only muster:// one, or else the first URI, or else the first of any kind;
/// "" without any. Errors: unauthenticated, when two SANs are muster:// (nobody is two parties).
[[nodiscard]] Result<std::string> chosen_san(const std::vector<std::string>& sans);

} // namespace muster::tls
