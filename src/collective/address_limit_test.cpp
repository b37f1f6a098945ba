#include "collective/address_limit.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

namespace muster::collective {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime start{};

std::string key_of(const char* text) {
    sockaddr_storage storage{};
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        storage.ss_family = AF_INET;
    } else if (::inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        storage.ss_family = AF_INET6;
    }
    return address_key(storage);
}

TEST(AddressLimit, lets_a_burst_through_and_then_the_rate) {
    AddressLimit limit{3, 10};
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(limit.admits("a", start));
    }
    EXPECT_FALSE(limit.admits("a", start));
    EXPECT_FALSE(limit.admits("a", start + milliseconds{90}));
    EXPECT_TRUE(limit.admits("a", start + milliseconds{110}));
    EXPECT_FALSE(limit.admits("a", start + milliseconds{110}));
}

TEST(AddressLimit, holds_nobody_to_account_for_another_address) {
    AddressLimit limit{1, 1};
    EXPECT_TRUE(limit.admits("a", start));
    EXPECT_FALSE(limit.admits("a", start));
    EXPECT_TRUE(limit.admits("b", start));
}

TEST(AddressLimit, gives_a_member_its_token_back) {
    AddressLimit limit{1, 1};
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(limit.admits("a", start));
        limit.give_back("a");
    }
    EXPECT_TRUE(limit.admits("a", start));
    EXPECT_FALSE(limit.admits("a", start));
}

TEST(AddressLimit, remembers_a_bounded_number_of_addresses_and_forgets_the_quiet_ones) {
    AddressLimit limit{2, 1};
    for (std::size_t i = 0; i < AddressLimit::addresses_max; ++i) {
        EXPECT_TRUE(limit.admits(fmt::format("{}", i), start));
    }
    EXPECT_FALSE(limit.admits("one more", start));
    EXPECT_TRUE(limit.admits("one more", start + std::chrono::seconds{2}));
    EXPECT_EQ(limit.remembered(), 1U);
}

TEST(AddressLimit, counts_an_ipv6_network_as_one_address) {
    EXPECT_EQ(key_of("2001:db8::1"), key_of("2001:db8::ffff:1"));
    EXPECT_NE(key_of("2001:db8::1"), key_of("2001:db8:0:1::1"));
    EXPECT_NE(key_of("10.0.0.1"), key_of("10.0.0.2"));
    EXPECT_EQ(key_of("::ffff:10.0.0.1"), key_of("10.0.0.1"));
}

} // namespace
} // namespace muster::collective
