#include "link/url.h"

#include <gtest/gtest.h>

namespace muster::link {
namespace {

TEST(Url, reads_host_port_and_path) {
    const auto plain = parse_url("https://producer.example:8443/a/b?c=d#e");
    ASSERT_TRUE(plain.ok());
    EXPECT_EQ(plain->host, "producer.example");
    EXPECT_EQ(plain->port, 8443);
    EXPECT_EQ(plain->path, "/a/b?c=d");
    const auto six = parse_url("[::1]:9");
    ASSERT_TRUE(six.ok());
    EXPECT_EQ(six->host, "::1");
    EXPECT_EQ(six->authority(), "[::1]:9");
    EXPECT_EQ(parse_url("https://h?x")->path, "/?x");
}

TEST(Url, refuses_what_is_not_https) {
    for (const auto* text :
         {"http://h/", "ftp://h", "https://", "h:0", "h:70000", "h:8x", "h:", "[::1", "u@h", "a b"}) {
        EXPECT_FALSE(parse_url(text).ok()) << text;
    }
}

TEST(PercentEncode, comes_back_as_it_was) {
    EXPECT_EQ(percent_encode("identity:muster://function/a=1,b"), "identity%3Amuster%3A%2F%2Ffunction%2Fa%3D1%2Cb");
    for (const auto* text : {"", "a-._~Z9", "a b/c?d#e%f", "\xc3\xa4\n\x7f"}) {
        EXPECT_EQ(percent_decode(percent_encode(text), false).value(), text);
    }
}

TEST(PercentDecode, decodes_and_refuses) {
    EXPECT_EQ(percent_decode("a%2Cb+c", true).value(), "a,b c");
    EXPECT_EQ(percent_decode("a+b", false).value(), "a+b");
    for (const auto* text : {"%", "%1", "%zz", "%00", "a%+1"}) {
        EXPECT_FALSE(percent_decode(text, false).ok()) << text;
    }
}

} // namespace
} // namespace muster::link
