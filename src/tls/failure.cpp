/// Turns OpenSSL's verdicts into a cause and a remedy.
#include "base/clock.h"
#include "tls/context.h"
#include "tls/peer_check.h"

#include <openssl/err.h>

#include <cerrno>
#include <ctime>
#include <system_error>

namespace muster::tls {
namespace {

/// Index of our std::string among an SSL's extra data. Index 0 is app data, which Asio deletes as its own.
int refusal_index() {
    static const int index = SSL_get_ex_new_index(
        0, nullptr, nullptr, nullptr, [](void* /*ssl*/, void* data, CRYPTO_EX_DATA*, int, long, void*) {
            delete static_cast<std::string*>(data);
        });
    return index;
}

std::string name_for_people(const X509* certificate) {
    const auto sans = sans_of(certificate);
    const auto san = chosen_san(sans);
    return san && !san->empty() ? *san : text_of(X509_get_subject_name(certificate));
}

std::string date_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) {
        return "an unreadable time";
    }
    return rfc3339(std::chrono::system_clock::from_time_t(timegm(&parts)));
}

std::string reason_of(int error, X509* certificate) {
    const std::string now = rfc3339(std::chrono::system_clock::now());
    const std::string issuer = text_of(X509_get_issuer_name(certificate));
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "has expired on " + date_of(X509_get0_notAfter(certificate)) + " (now: " + now +
               "); renew it, or correct this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "is not valid before " + date_of(X509_get0_notBefore(certificate)) + " (now: " + now +
               "); one of the two machines' clocks is wrong";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
        return "is from a CA that is not trusted here (issuer " + issuer +
               "); use a certificate of the trusted CA, or trust that CA on purpose";
    case X509_V_ERR_INVALID_PURPOSE:
        return "may not be used for this side of TLS (extended key usage); issue one for server and client "
               "authentication";
    default:
        return std::string{"was refused: "} + X509_verify_cert_error_string(error) + " (issuer " + issuer + ")";
    }
}

/// What the peer's alert means for this side, which cannot see the other's log.
std::string alert_text(int reason) {
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the peer demands a client certificate and this side sent none; configure certificate and key, or "
               "enrol first";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the peer does not trust the CA of this side's certificate; use a certificate of the CA that the peer "
               "trusts";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the peer says that this side's certificate has expired or is not valid yet; renew it, and compare "
               "both machines' clocks";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "the peer says that this side's certificate is revoked; enrol again";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE: // OpenSSL's alert for one that is not valid yet, among others
        return "the peer refused this side's certificate, perhaps because it is not valid yet by the peer's clock; "
               "compare both machines' clocks; the peer's log says why";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return "the peer refused this side's certificate; its log says why";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "the peer does not accept TLS 1.3, and nothing older is spoken here; upgrade the peer";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return "the peer has no cipher or curve in common with this side (TLS 1.3, P-256); upgrade the peer";
    default:
        return "";
    }
}

std::string local_text(int reason) {
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "the peer sent no certificate; it must present one of the trusted CA (has it enrolled?)";
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return "the peer speaks plain HTTP; this port speaks TLS 1.3 only (https://)";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return "the peer does not speak TLS (plain text, or another protocol); check address and port, nothing is "
               "spoken here in plain text";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
        return "the peer offers only TLS versions older than 1.3, which are not accepted; upgrade the peer";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
        return "the peer has no cipher or curve in common with this side (TLS 1.3, P-256); upgrade the peer";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return "the peer closed the connection without a word; its log says why, or something between cut it";
    default:
        return "";
    }
}

std::string text_of_error(unsigned long error) {
    if (ERR_SYSTEM_ERROR(error)) {
        return "the connection broke: " + std::generic_category().message(ERR_GET_REASON(error));
    }
    const int reason = ERR_GET_REASON(error);
    for (std::string text : {alert_text(reason), local_text(reason)}) {
        if (!text.empty()) {
            return text;
        }
    }
    const char* words = ERR_reason_error_string(error);
    return std::string{"the TLS handshake failed: "} + (words == nullptr ? "unknown reason" : words);
}

} // namespace

void remember_refusal(SSL* connection, std::string reason) {
    if (SSL_get_ex_data(connection, refusal_index()) != nullptr) {
        return;
    }
    auto text = std::make_unique<std::string>(std::move(reason));
    if (SSL_set_ex_data(connection, refusal_index(), text.get()) == 1) {
        (void)text.release(); // now the connection's
    }
}

int remember_refusal(int verdict, X509_STORE_CTX* check) {
    auto* connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx()));
    if (verdict == 1 || connection == nullptr) {
        return verdict;
    }
    X509* certificate = X509_STORE_CTX_get_current_cert(check);
    X509* leaf = X509_STORE_CTX_get0_cert(check);
    const int error = X509_STORE_CTX_get_error(check);
    std::string text = "the peer's certificate";
    if (leaf != nullptr) {
        text += " (" + name_for_people(leaf) + ")";
    }
    const bool names_another =
        certificate != leaf && (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID);
    if (certificate == nullptr) {
        text += std::string{" was refused: "} + X509_verify_cert_error_string(error);
    } else if (names_another) {
        text +=
            " is signed by " + text_of(X509_get_subject_name(certificate)) + ", which " + reason_of(error, certificate);
    } else {
        text += " " + reason_of(error, leaf == nullptr ? certificate : leaf);
    }
    remember_refusal(connection, std::move(text));
    return verdict;
}

std::string refusal_of(const SSL* connection) {
    const auto* text = static_cast<const std::string*>(SSL_get_ex_data(connection, refusal_index()));
    return text == nullptr ? "" : *text;
}

std::string handshake_failure_of(ssl_st* connection, unsigned long openssl_error) {
    if (std::string refusal = refusal_of(connection); !refusal.empty()) {
        return refusal;
    }
    if (openssl_error != 0) {
        return text_of_error(openssl_error);
    }
    return local_text(SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

std::string handshake_failure(ssl_st* connection, int ssl_error) {
    const int system_error = errno;
    const unsigned long openssl_error = ERR_peek_error(); // the first is the cause, later ones its consequences
    ERR_clear_error();
    if (refusal_of(connection).empty() && openssl_error == 0) {
        if (ssl_error == SSL_ERROR_SYSCALL && system_error != 0) {
            return "the connection broke: " + std::generic_category().message(system_error);
        }
        if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
            return "the peer did not finish the TLS handshake in time; check address and port, and the peer's log";
        }
    }
    return handshake_failure_of(connection, openssl_error);
}

} // namespace muster::tls
