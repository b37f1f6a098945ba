#include "tls/chain.h"

#include "tls/openssl.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <chrono>
#include <memory>

namespace muster::tls {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using CheckPtr = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;
using StackPtr = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })>;

} // namespace

Result<void> check_chain(std::string_view certificate_pem, std::string_view trust_pem, WallTime now) {
    const std::vector<X509Ptr> presented = read_certificates(certificate_pem);
    if (presented.empty()) {
        return Error{ErrorCode::invalid_argument, "there is no certificate in the text"};
    }
    const StorePtr trusted{X509_STORE_new()};
    require(trusted != nullptr, "making a certificate store");
    for (const X509Ptr& anchor : read_certificates(trust_pem)) {
        require(X509_STORE_add_cert(trusted.get(), anchor.get()) == 1, "adding a trusted certificate");
    }
    const StackPtr others{sk_X509_new_null()}; // borrows
    require(others != nullptr, "making a list of certificates");
    for (std::size_t i = 1; i < presented.size(); ++i) {
        require(sk_X509_push(others.get(), presented[i].get()) > 0, "listing a certificate");
    }
    const CheckPtr check{X509_STORE_CTX_new()};
    require(check != nullptr &&
                X509_STORE_CTX_init(check.get(), trusted.get(), presented.front().get(), others.get()) == 1,
            "preparing a certificate check");
    X509_STORE_CTX_set_time(check.get(), 0, std::chrono::system_clock::to_time_t(now));
    if (X509_verify_cert(check.get()) != 1) {
        const int reason = X509_STORE_CTX_get_error(check.get());
        ERR_clear_error();
        return Error{ErrorCode::unauthenticated, X509_verify_cert_error_string(reason)};
    }
    return {};
}

} // namespace muster::tls
