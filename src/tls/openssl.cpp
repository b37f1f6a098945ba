#include "tls/openssl.h"

#include "base/digest.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>

namespace muster::tls {
namespace {

/// Refuses to ask: a key with a pass phrase is a bad key here, not a question on a terminal nobody watches.
int no_pass_phrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) {
    return 0;
}

std::string bytes_of(const ASN1_STRING* text) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
            static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string address_of(const ASN1_STRING* bytes) {
    const int family = ASN1_STRING_length(bytes) == 16 ? AF_INET6 : AF_INET;
    const bool known = ASN1_STRING_length(bytes) == 16 || ASN1_STRING_length(bytes) == 4;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (!known || inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size()) == nullptr) {
        return "?";
    }
    return text.data();
}

/// "" for kinds of names that nobody can speak with.
std::string text_of(const GENERAL_NAME* name) {
    switch (name->type) {
    case GEN_URI:
        return bytes_of(name->d.uniformResourceIdentifier);
    case GEN_DNS:
        return "DNS:" + bytes_of(name->d.dNSName);
    case GEN_EMAIL:
        return "email:" + bytes_of(name->d.rfc822Name);
    case GEN_IPADD:
        return "IP:" + address_of(name->d.iPAddress);
    default:
        return "";
    }
}

} // namespace

void require(bool holds, const char* doing) {
    if (holds) {
        return;
    }
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    throw std::runtime_error{std::string{doing} + ": " + (reason == nullptr ? "OpenSSL failed" : reason)};
}

BioPtr reader_of(std::string_view text) {
    BioPtr memory{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
    require(memory != nullptr, "read a PEM text");
    return memory;
}

std::string text_of(BIO* memory) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(memory, &data);
    return {data, static_cast<std::size_t>(size)};
}

PkeyPtr read_key(std::string_view pem) {
    PkeyPtr key{PEM_read_bio_PrivateKey(reader_of(pem).get(), nullptr, no_pass_phrase, nullptr)};
    ERR_clear_error();
    return key;
}

std::vector<X509Ptr> read_certificates(std::string_view pem) {
    const BioPtr reader = reader_of(pem);
    std::vector<X509Ptr> certificates;
    while (X509Ptr next{PEM_read_bio_X509(reader.get(), nullptr, no_pass_phrase, nullptr)}) {
        certificates.push_back(std::move(next));
    }
    ERR_clear_error(); // the end of the text is reported as an error
    return certificates;
}

RequestPtr read_request(std::string_view pem) {
    RequestPtr request{PEM_read_bio_X509_REQ(reader_of(pem).get(), nullptr, no_pass_phrase, nullptr)};
    ERR_clear_error();
    return request;
}

std::string to_pem(X509* certificate) {
    const BioPtr memory{BIO_new(BIO_s_mem())};
    require(memory != nullptr && PEM_write_bio_X509(memory.get(), certificate) == 1, "write a certificate");
    return text_of(memory.get());
}

std::string fingerprint_of(const X509* certificate) {
    std::array<std::byte, 32> digest{};
    unsigned size = 0;
    require(X509_digest(certificate, EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), &size) == 1,
            "digest a certificate");
    return to_hex(digest);
}

std::string serial_of(const X509* certificate) {
    const std::unique_ptr<BIGNUM, Free<BN_free>> number{
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr)};
    require(number != nullptr, "read a serial number");
    std::vector<std::byte> bytes(static_cast<std::size_t>(BN_num_bytes(number.get())));
    BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(bytes.data()));
    return to_hex(bytes);
}

std::string text_of(const X509_NAME* name) {
    const BioPtr memory{BIO_new(BIO_s_mem())};
    require(memory != nullptr && X509_NAME_print_ex(memory.get(), name, 0, XN_FLAG_RFC2253) >= 0, "print a name");
    return text_of(memory.get());
}

std::vector<std::string> sans_of(const X509* certificate) {
    const GeneralNamesPtr names{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    ERR_clear_error();
    std::vector<std::string> sans;
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        if (std::string san = text_of(sk_GENERAL_NAME_value(names.get(), i)); !san.empty()) {
            sans.push_back(std::move(san));
        }
    }
    return sans;
}

Result<std::string> chosen_san(const std::vector<std::string>& sans) {
    const auto is_ours = [](const std::string& san) { return san.starts_with("muster:"); };
    const auto is_uri = [](const std::string& san) {
        return !san.starts_with("DNS:") && !san.starts_with("IP:") && !san.starts_with("email:");
    };
    if (std::ranges::count_if(sans, is_ours) > 1) {
        return Error{ErrorCode::unauthenticated,
                     "the certificate carries more than one muster:// identity; it must carry exactly one"};
    }
    auto found = std::ranges::find_if(sans, is_ours);
    if (found == sans.end()) {
        found = std::ranges::find_if(sans, is_uri);
    }
    if (found == sans.end()) {
        found = sans.begin();
    }
    return found == sans.end() ? std::string{} : *found;
}

} // namespace muster::tls
