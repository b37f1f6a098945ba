/// The parts that requests and certificates share: names and keys. Private to tls: includes OpenSSL.
#pragma once

#include "base/result.h"
#include "tls/keys.h"
#include "tls/openssl.h"

#include <string>
#include <string_view>
#include <vector>

namespace muster::tls {

/// Makes a new P-256 key.
[[nodiscard]] PkeyPtr make_pkey();
/// Writes a private key as unencrypted PKCS#8.
[[nodiscard]] KeyPem key_pem(EVP_PKEY* key);
/// Builds a SAN extension: the URI (may be empty when there are hosts) and then the hosts, IP addresses as such.
/// Errors: invalid_argument, when a name cannot stand in a certificate or there is none.
[[nodiscard]] Result<GeneralNamesPtr> names_of(const std::string& uri, const std::vector<std::string>& hosts);
/// What people see as the name of a SAN: the DN or consumer's name, else the SAN.
[[nodiscard]] std::string common_name_of(std::string_view san);
/// Sets the CN, shortened at the front to what X.509 allows.
void set_common_name(X509_NAME* name, std::string text);

} // namespace muster::tls
