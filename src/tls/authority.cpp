/// Makes and signs certificates: the root, and what it writes below itself.
#include "base/assert.h"
#include "tls/certificate_parts.h"
#include "tls/keys.h"
#include "tls/openssl.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

namespace muster::tls {
namespace {

constexpr std::size_t common_name_bytes_max = 64; ///< ub-common-name of RFC 5280
constexpr std::size_t serial_bytes = 16;          ///< RFC 5280 4.1.2.2 allows 20
constexpr std::size_t request_bytes_max = 64U << 10U;
constexpr std::chrono::seconds root_backdate{300};

bool is_printable(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char letter) { return letter > 0x20 && letter < 0x7F; });
}

bool is_host(std::string_view text) {
    return !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [](char letter) {
        return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
               (letter >= '0' && letter <= '9') || letter == '-' || letter == '.' || letter == '_';
    });
}

GeneralNamePtr general_name(int type, std::string_view text) {
    GeneralNamePtr name{GENERAL_NAME_new()};
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    require(name != nullptr && value != nullptr &&
                ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1,
            "make a subject alternative name");
    GENERAL_NAME_set0_value(name.get(), type, value);
    return name;
}

/// Null, when `host` is neither an IP address nor a DNS name.
GeneralNamePtr host_name(const std::string& host) {
    if (ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str()); address != nullptr) {
        GeneralNamePtr name{GENERAL_NAME_new()};
        require(name != nullptr, "make a subject alternative name");
        GENERAL_NAME_set0_value(name.get(), GEN_IPADD, address);
        return name;
    }
    ERR_clear_error();
    return is_host(host) ? general_name(GEN_DNS, host) : nullptr;
}

void push(GENERAL_NAMES* names, GeneralNamePtr name) {
    require(sk_GENERAL_NAME_push(names, name.get()) > 0, "make a subject alternative name");
    (void)name.release();
}

void set_time(ASN1_TIME* field, WallTime time) {
    require(ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr, "set a validity time");
}

void set_random_serial(X509* certificate) {
    std::array<unsigned char, serial_bytes> bytes{};
    require(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "make a serial number");
    bytes.front() = static_cast<unsigned char>((bytes.front() & 0x7FU) | 0x40U); // positive, always 16 bytes
    const std::unique_ptr<BIGNUM, Free<BN_free>> number{
        BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr)};
    require(number != nullptr && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
            "make a serial number");
}

/// `value` is one of our constants, never a text from outside: OpenSSL's little language has escapes of its own.
void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    require(extension != nullptr, "make a certificate extension");
    const bool added = X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    require(added, "add a certificate extension");
}

X509Ptr new_certificate(EVP_PKEY* public_key, std::string common_name) {
    X509Ptr certificate{X509_new()};
    require(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
                X509_set_pubkey(certificate.get(), public_key) == 1,
            "make a certificate");
    set_random_serial(certificate.get());
    set_common_name(X509_get_subject_name(certificate.get()), std::move(common_name));
    return certificate;
}

Error bad_request(std::string why) {
    return Error{ErrorCode::invalid_argument, "the certificate request " + std::move(why), "csr"};
}

/// The public key of a request whose self-signature is right: the sender holds the private key.
Result<PkeyPtr> requested_key(std::string_view request_pem) {
    if (request_pem.size() > request_bytes_max) {
        return bad_request("is longer than 64 KiB");
    }
    const RequestPtr request = read_request(request_pem);
    if (request == nullptr) {
        return bad_request("is not a PKCS#10 request in PEM form");
    }
    PkeyPtr key{X509_REQ_get_pubkey(request.get())};
    std::array<char, 32> group{};
    const bool is_p256 = key != nullptr &&
                         EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), nullptr) == 1 &&
                         std::string_view{group.data()} == "prime256v1";
    const bool signed_by_it = is_p256 && X509_REQ_verify(request.get(), key.get()) == 1;
    ERR_clear_error();
    if (!is_p256) {
        return bad_request("does not hold a P-256 key");
    }
    if (!signed_by_it) {
        return bad_request("is not signed by the key it holds");
    }
    return key;
}

/// Writes the certificate of a public key, followed by the root's.
Result<std::string>
certificate_for(EVP_PKEY* key, const KeyPair& root_pair, const CertificateSpec& spec, WallTime now) {
    const auto names = names_of(spec.uri, spec.hosts);
    if (!names) {
        return names.error();
    }
    const auto chain = read_certificates(root_pair.certificate);
    const PkeyPtr root_key = read_key(root_pair.key.reveal());
    MUSTER_ASSERT(!chain.empty() && root_key != nullptr); // open() has read them
    X509* root = chain.front().get();

    const X509Ptr leaf = new_certificate(key, common_name_of(spec.uri.empty() ? spec.hosts.front() : spec.uri));
    set_time(X509_getm_notBefore(leaf.get()), now - spec.backdate);
    set_time(X509_getm_notAfter(leaf.get()), now + spec.lifetime);
    if (ASN1_TIME_compare(X509_get0_notAfter(leaf.get()), X509_get0_notAfter(root)) > 0) {
        // No chain is valid beyond its root; saying so in the leaf lets renewal come in time.
        require(X509_set1_notAfter(leaf.get(), X509_get0_notAfter(root)) == 1, "set a validity time");
    }
    require(X509_set_issuer_name(leaf.get(), X509_get_subject_name(root)) == 1, "name an issuer");
    add_extension(leaf.get(), root, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(leaf.get(), root, NID_key_usage, "critical,digitalSignature");
    add_extension(leaf.get(), root, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(leaf.get(), root, NID_subject_key_identifier, "hash");
    add_extension(leaf.get(), root, NID_authority_key_identifier, "keyid:always");
    require(X509_add1_ext_i2d(leaf.get(), NID_subject_alt_name, names->get(), 0, X509V3_ADD_DEFAULT) == 1 &&
                X509_sign(leaf.get(), root_key.get(), EVP_sha256()) > 0,
            "sign a certificate");
    std::string pem = to_pem(leaf.get());
    for (const X509Ptr& above : chain) {
        pem += to_pem(above.get());
    }
    return pem;
}

} // namespace

std::string common_name_of(std::string_view san) {
    const Identity identity = parse_identity(san);
    return identity.name.empty() ? std::string{san} : identity.name;
}

void set_common_name(X509_NAME* name, std::string text) {
    if (text.size() > common_name_bytes_max) {
        text = "..." + text.substr(text.size() - (common_name_bytes_max - 3)); // the end of a DN says most
    }
    // A CN is for people; identity is read from the SAN alone. So what is not plain ASCII becomes '?'.
    std::ranges::replace_if(
        text, [](char letter) { return letter < 0x20 || letter >= 0x7F; }, '?');
    require(X509_NAME_add_entry_by_txt(name,
                                       "CN",
                                       MBSTRING_ASC,
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()),
                                       -1,
                                       0) == 1,
            "set a common name");
}

Result<GeneralNamesPtr> names_of(const std::string& uri, const std::vector<std::string>& hosts) {
    if (uri.empty() && hosts.empty()) {
        return Error{ErrorCode::invalid_argument, "a certificate needs an identity", "uri"};
    }
    if (!uri.empty() && !is_printable(uri)) {
        return Error{ErrorCode::invalid_argument, "an identity holds printable ASCII without spaces only", "uri"};
    }
    GeneralNamesPtr names{sk_GENERAL_NAME_new_null()};
    require(names != nullptr, "make a subject alternative name");
    if (!uri.empty()) {
        push(names.get(), general_name(GEN_URI, uri));
    }
    for (const std::string& host : hosts) {
        GeneralNamePtr name = host_name(host);
        if (name == nullptr) {
            return Error{ErrorCode::invalid_argument, "\"" + host + "\" is no DNS name and no IP address", "hosts"};
        }
        push(names.get(), std::move(name));
    }
    return names;
}

KeyPair Authority::make_root(std::string_view common_name, std::chrono::seconds lifetime, WallTime now) {
    const PkeyPtr key = make_pkey();
    const X509Ptr root = new_certificate(key.get(), std::string{common_name});
    set_time(X509_getm_notBefore(root.get()), now - root_backdate);
    set_time(X509_getm_notAfter(root.get()), now + lifetime);
    require(X509_set_issuer_name(root.get(), X509_get_subject_name(root.get())) == 1, "name an issuer");
    add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash");
    add_extension(root.get(), root.get(), NID_authority_key_identifier, "keyid:always");
    require(X509_sign(root.get(), key.get(), EVP_sha256()) > 0, "sign a root certificate");
    return KeyPair{to_pem(root.get()), key_pem(key.get())};
}

Result<Authority> Authority::open(KeyPair root) {
    const auto certificates = read_certificates(root.certificate);
    const PkeyPtr key = read_key(root.key.reveal());
    if (certificates.empty() || key == nullptr) {
        return Error{ErrorCode::invalid_argument,
                     certificates.empty() ? "the CA's certificate is not a PEM certificate"
                                          : "the CA's key is not a PEM private key without a pass phrase"};
    }
    X509* certificate = certificates.front().get();
    if (X509_check_ca(certificate) != 1) {
        return Error{ErrorCode::invalid_argument, "the certificate may not sign others: it is not a CA certificate"};
    }
    const bool pair = X509_check_private_key(certificate, key.get()) == 1;
    ERR_clear_error();
    if (!pair) {
        return Error{ErrorCode::invalid_argument, "the CA's certificate and key do not belong together"};
    }
    return Authority{std::move(root)};
}

Result<std::string> Authority::sign(std::string_view request_pem, const CertificateSpec& spec, WallTime now) const {
    const auto key = requested_key(request_pem);
    return key ? certificate_for(key->get(), root_, spec, now) : key.error();
}

Result<KeyPair> Authority::issue(const CertificateSpec& spec, WallTime now) const {
    const PkeyPtr key = make_pkey();
    auto certificate = certificate_for(key.get(), root_, spec, now);
    if (!certificate) {
        return certificate.error();
    }
    return KeyPair{std::move(*certificate), key_pem(key.get())};
}

} // namespace muster::tls
