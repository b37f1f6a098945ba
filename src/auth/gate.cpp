#include "auth/gate.h"

namespace muster::auth {

Result<Principal> Gate::admit(const tls::Identity& verified, const std::string& serial) const {
    auto principal = policy_.recognise(verified);
    if (!principal) {
        return principal;
    }
    if (auto good = revocations_->check(principal->certificate_san(), serial); !good) {
        return std::move(good).error();
    }
    if (principal->name() != principal->certificate_san()) {
        if (auto good = revocations_->check(principal->name(), ""); !good) {
            return std::move(good).error();
        }
    }
    return principal;
}

} // namespace muster::auth
