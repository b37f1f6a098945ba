#include "tls/keys.h"

#include "base/digest.h"
#include "tls/certificate_parts.h"
#include "tls/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>

namespace muster::tls {
namespace {

WallTime time_of(const ASN1_TIME* time) {
    std::tm parts{};
    require(ASN1_TIME_to_tm(time, &parts) == 1, "read a validity time");
    return std::chrono::system_clock::from_time_t(timegm(&parts));
}

} // namespace

KeyPem key_pem(EVP_PKEY* key) {
    const BioPtr memory{BIO_new(BIO_s_mem())};
    require(memory != nullptr &&
                PEM_write_bio_PKCS8PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
            "write a private key");
    return KeyPem{text_of(memory.get())};
}

PkeyPtr make_pkey() {
    PkeyPtr key{EVP_EC_gen("P-256")};
    require(key != nullptr, "make a P-256 key");
    return key;
}

KeyPem make_key() {
    return key_pem(make_pkey().get());
}

Result<std::string> make_request(const KeyPem& key, std::string_view uri) {
    const PkeyPtr pkey = read_key(key.reveal());
    if (pkey == nullptr) {
        return Error{ErrorCode::invalid_argument, "there is no usable private key (PEM, without a pass phrase)"};
    }
    const auto names = names_of(std::string{uri}, {});
    if (!names) {
        return names.error();
    }
    const RequestPtr request{X509_REQ_new()};
    require(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                X509_REQ_set_pubkey(request.get(), pkey.get()) == 1,
            "make a certificate request");
    set_common_name(X509_REQ_get_subject_name(request.get()), common_name_of(uri));

    const std::unique_ptr<STACK_OF(X509_EXTENSION), void (*)(STACK_OF(X509_EXTENSION)*)> extensions{
        sk_X509_EXTENSION_new_null(),
        [](STACK_OF(X509_EXTENSION) * stack) { sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free); }};
    X509_EXTENSION* san = X509V3_EXT_i2d(NID_subject_alt_name, 0, names->get());
    require(san != nullptr && sk_X509_EXTENSION_push(extensions.get(), san) > 0 &&
                X509_REQ_add_extensions(request.get(), extensions.get()) == 1 &&
                X509_REQ_sign(request.get(), pkey.get(), EVP_sha256()) > 0,
            "sign a certificate request");
    const BioPtr memory{BIO_new(BIO_s_mem())};
    require(memory != nullptr && PEM_write_bio_X509_REQ(memory.get(), request.get()) == 1,
            "write a certificate request");
    return text_of(memory.get());
}

Result<CertificateInfo> inspect(std::string_view certificate_pem) {
    const auto certificates = read_certificates(certificate_pem);
    if (certificates.empty()) {
        return Error{ErrorCode::invalid_argument, "there is no PEM certificate in this text"};
    }
    X509* first = certificates.front().get();
    CertificateInfo info;
    info.sans = sans_of(first);
    if (const auto san = chosen_san(info.sans); san) {
        info.identity = parse_identity(*san);
    }
    info.subject = text_of(X509_get_subject_name(first));
    info.issuer = text_of(X509_get_issuer_name(first));
    info.serial = serial_of(first);
    info.not_before = time_of(X509_get0_notBefore(first));
    info.not_after = time_of(X509_get0_notAfter(first));
    info.fingerprint = fingerprint_of(first);
    return info;
}

Result<std::string> sign_message(const KeyPem& key, std::string_view message) {
    const PkeyPtr pkey = read_key(key.reveal());
    if (pkey == nullptr) {
        return Error{ErrorCode::invalid_argument, "there is no usable private key (PEM, without a pass phrase)"};
    }
    const DigestPtr digest{EVP_MD_CTX_new()};
    const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
    std::size_t size = 0;
    require(digest != nullptr && EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, pkey.get()) == 1 &&
                EVP_DigestSign(digest.get(), nullptr, &size, bytes, message.size()) == 1,
            "sign a message");
    std::string signature(size, '\0');
    require(EVP_DigestSign(
                digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, message.size()) == 1,
            "sign a message");
    signature.resize(size);
    return signature;
}

bool verify_message(std::string_view certificate_pem, std::string_view message, std::string_view signature) {
    const auto certificates = read_certificates(certificate_pem);
    if (certificates.empty()) {
        return false;
    }
    EVP_PKEY* key = X509_get0_pubkey(certificates.front().get());
    const DigestPtr digest{EVP_MD_CTX_new()};
    const bool good = digest != nullptr && key != nullptr &&
                      EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                      EVP_DigestVerify(digest.get(),
                                       reinterpret_cast<const unsigned char*>(signature.data()),
                                       signature.size(),
                                       reinterpret_cast<const unsigned char*>(message.data()),
                                       message.size()) == 1;
    ERR_clear_error();
    return good;
}

} // namespace muster::tls
