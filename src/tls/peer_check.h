/// What happened while a peer's certificate was checked, kept for the person who has to mend it. Private to tls.
#pragma once

#include "tls/openssl.h"

#include <openssl/ssl.h>

#include <string>

namespace muster::tls {

/// Verify callback of every context of ours: changes no verdict, but remembers the reason of a refusal in words.
int remember_refusal(int verdict, X509_STORE_CTX* check);
/// Remembers a reason of our own; the first one counts.
void remember_refusal(SSL* connection, std::string reason);
/// The remembered reason, or "" when nothing was refused here.
[[nodiscard]] std::string refusal_of(const SSL* connection);

} // namespace muster::tls
