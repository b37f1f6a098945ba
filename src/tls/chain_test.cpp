#include "tls/chain.h"
#include "tls/keys.h"

#include <gtest/gtest.h>

namespace muster::tls {
namespace {

using namespace std::chrono_literals;

TEST(Chain, holds_for_the_own_ca_and_while_it_is_valid_only) {
    const WallTime now = std::chrono::system_clock::now();
    const Authority own = Authority::open(Authority::make_root("own", 24h, now)).value();
    const Authority other = Authority::open(Authority::make_root("own", 24h, now)).value();
    const std::string leaf = own.issue({.uri = function_uri("a"), .lifetime = 1h}, now)->certificate;
    EXPECT_TRUE(check_chain(leaf, own.certificate(), now));
    EXPECT_TRUE(check_chain(leaf, other.certificate() + own.certificate(), now));
    EXPECT_EQ(check_chain(leaf, other.certificate(), now).error().code, ErrorCode::unauthenticated);
    EXPECT_EQ(check_chain(leaf, "", now).error().code, ErrorCode::unauthenticated);
    EXPECT_EQ(check_chain(leaf, own.certificate(), now + 2h).error().message, "certificate has expired");
    EXPECT_EQ(check_chain("nothing", own.certificate(), now).error().code, ErrorCode::invalid_argument);
}

} // namespace
} // namespace muster::tls
