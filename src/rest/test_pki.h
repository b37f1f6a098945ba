/// Certificates for tests: an authority and what it issues.
#pragma once

#include "tls/context.h"
#include "tls/keys.h"

#include <gtest/gtest.h>

#include <string>

namespace muster::rest::test {

/// One operator's PKI, with keys made once for each test.
class Pki {
public:
    Pki()
        : root_{tls::Authority::make_root("test root", std::chrono::hours{1}, SystemClock{}.wall_now())},
          authority_{tls::Authority::open(root_).value()} {}

    [[nodiscard]] tls::KeyPair issue(const std::string& uri, std::vector<std::string> hosts = {}) const {
        return authority_.issue({uri, std::move(hosts), std::chrono::hours{1}}, SystemClock{}.wall_now()).value();
    }
    [[nodiscard]] tls::Context server() const {
        return tls::Context::server({issue(tls::producer_uri("SubNetwork=1"), {"127.0.0.1"}), root_.certificate},
                                    tls::ClientCertificate::optional)
            .value();
    }
    [[nodiscard]] tls::Context client(const std::string& uri) const {
        return tls::Context::client({issue(uri), root_.certificate}).value();
    }
    /// A client without a certificate.
    [[nodiscard]] tls::Context stranger() const { return tls::Context::client({{}, root_.certificate}).value(); }
    [[nodiscard]] const tls::KeyPair& root() const { return root_; }

private:
    tls::KeyPair root_;
    tls::Authority authority_;
};

} // namespace muster::rest::test
