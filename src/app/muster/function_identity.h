/// A function's certificate: enrolled once, renewed by itself, read from files of an operator's own CA.
#pragma once

#include "app/muster/function_config.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "base/result.h"
#include "tls/context.h"

#include <functional>
#include <stop_token>

namespace muster::app {

/// Keeps the current credentials in the state folder (certificate.pem, key.pem, authority.pem). Safe from any thread.
class FunctionIdentity {
public:
    /// Loads what the state folder holds, else enrols with the token. Errors: as enrolment, with cause and remedy.
    [[nodiscard]] static Result<std::unique_ptr<FunctionIdentity>> open(const FunctionConfig& config);

    [[nodiscard]] tls::Credentials credentials() const;
    [[nodiscard]] tls::Context context() const;
    /// Renews when two thirds of the lifetime are over. Errors: as the producer answers; the old certificate stays.
    [[nodiscard]] Result<void> renew_if_due(WallTime now);
    /// Calls renew_if_due every minute until stopped.
    void run(const std::stop_token& stop);

private:
    explicit FunctionIdentity(const FunctionConfig& config) : config_{config} {}
    [[nodiscard]] Result<void> enrol();
    [[nodiscard]] Result<void> adopt(const tls::Credentials& credentials, bool keep);

    FunctionConfig config_;
    mutable Guarded<tls::Credentials> credentials_;
};

} // namespace muster::app
