#include "base/digest.h"
#include "tls/keys.h"

#include <gtest/gtest.h>

#include <set>

namespace muster::tls {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";

class Keys : public testing::Test {
protected:
    ManualClock clock_;
    WallTime now_ = clock_.wall_now();
    KeyPair root_ = Authority::make_root("Muster CA", 24h, now_);
    Authority authority_ = Authority::open(root_).value();
};

TEST_F(Keys, authority_writes_the_identity_it_was_told_and_nothing_of_the_request) {
    const KeyPem key = make_key();
    const std::string request = make_request(key, consumer_uri("somebody-else")).value();
    const std::string chain =
        authority_
            .sign(request,
                  {.uri = function_uri(gnb), .hosts = {"gnb-1.example", "10.0.0.1", "::1"}, .lifetime = 1h},
                  now_)
            .value();
    const CertificateInfo info = inspect(chain).value();
    EXPECT_EQ(info.identity.role, Role::function);
    EXPECT_EQ(info.identity.name, gnb);
    EXPECT_EQ(info.sans, (std::vector<std::string>{function_uri(gnb), "DNS:gnb-1.example", "IP:10.0.0.1", "IP:::1"}));
    EXPECT_EQ(info.issuer, "CN=Muster CA");
    EXPECT_EQ(info.not_before, now_ - 300s);
    EXPECT_EQ(info.not_after, now_ + 1h);
    EXPECT_TRUE(chain.ends_with(root_.certificate)) << "the root follows the leaf";
    EXPECT_EQ(chain.find("somebody-else"), std::string::npos);
}

TEST_F(Keys, serial_numbers_differ) {
    std::set<std::string> serials;
    for (int i = 0; i < 20; ++i) {
        serials.insert(
            inspect(authority_.issue({.uri = "muster://consumer/a", .lifetime = 1h}, now_)->certificate)->serial);
    }
    EXPECT_EQ(serials.size(), 20U);
    EXPECT_EQ(serials.begin()->size(), 32U);
}

TEST_F(Keys, a_certificate_ends_no_later_than_its_root) {
    const auto pair = authority_.issue({.uri = "muster://consumer/a", .lifetime = 48h}, now_);
    EXPECT_EQ(inspect(pair->certificate)->not_after, now_ + 24h);
}

TEST_F(Keys, a_long_name_is_shortened_in_the_cn_only) {
    const std::string dn = "SubNetwork=" + std::string(300, 'x') + ",MLTrainingFunction=9";
    const CertificateInfo info =
        inspect(authority_.issue({.uri = function_uri(dn), .lifetime = 1h}, now_)->certificate).value();
    EXPECT_EQ(info.identity.name, dn);
    EXPECT_EQ(info.subject.size(), std::string{"CN="}.size() + 64 + 1) << info.subject; // one escaped comma
    EXPECT_TRUE(info.subject.ends_with("MLTrainingFunction=9")) << info.subject;
}

TEST_F(Keys, a_request_that_its_own_key_did_not_sign_is_refused) {
    const std::string request = make_request(make_key(), function_uri(gnb)).value();
    // Changes the last bytes of the DER, which are the signature's.
    const std::string begin = "-----BEGIN CERTIFICATE REQUEST-----\n";
    const std::string end = "-----END CERTIFICATE REQUEST-----\n";
    std::string body = request.substr(begin.size(), request.size() - begin.size() - end.size());
    std::erase(body, '\n');
    std::string der = from_base64(body).value();
    der.back() = static_cast<char>(der.back() ^ 1);
    const auto refused =
        authority_.sign(begin + to_base64(der) + "\n" + end, {.uri = function_uri(gnb), .lifetime = 1h}, now_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().text(), "csr: the certificate request is not signed by the key it holds");
}

TEST_F(Keys, what_is_no_request_is_refused) {
    for (const std::string& text : {std::string{}, std::string{"hello"}, root_.certificate, std::string(70'000, 'x')}) {
        const auto refused = authority_.sign(text, {.uri = function_uri(gnb), .lifetime = 1h}, now_);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    }
}

TEST_F(Keys, names_that_cannot_stand_in_a_certificate_are_refused) {
    EXPECT_FALSE(authority_.issue({.uri = "", .lifetime = 1h}, now_));
    EXPECT_FALSE(authority_.issue({.uri = "muster://consumer/a b", .lifetime = 1h}, now_));
    EXPECT_FALSE(authority_.issue({.uri = "muster://consumer/a", .hosts = {"bad host"}, .lifetime = 1h}, now_));
    EXPECT_FALSE(make_request(KeyPem{"nonsense"}, "muster://consumer/a"));
}

TEST_F(Keys, open_wants_a_ca_and_its_own_key) {
    const KeyPair leaf = authority_.issue({.uri = "muster://consumer/a", .lifetime = 1h}, now_).value();
    EXPECT_EQ(Authority::open(leaf).error().message, "the certificate may not sign others: it is not a CA certificate");
    EXPECT_EQ(Authority::open({root_.certificate, leaf.key}).error().message,
              "the CA's certificate and key do not belong together");
    EXPECT_FALSE(Authority::open({"", root_.key}));
    EXPECT_FALSE(Authority::open({root_.certificate, KeyPem{}}));
}

TEST_F(Keys, signatures_hold_for_their_message_and_certificate_only) {
    const KeyPair one = authority_.issue({.uri = "muster://consumer/a", .lifetime = 1h}, now_).value();
    const KeyPair two = authority_.issue({.uri = "muster://consumer/a", .lifetime = 1h}, now_).value();
    const std::string signature = sign_message(one.key, "the plan").value();
    EXPECT_TRUE(verify_message(one.certificate, "the plan", signature));
    EXPECT_FALSE(verify_message(one.certificate, "another plan", signature));
    EXPECT_FALSE(verify_message(two.certificate, "the plan", signature));
    EXPECT_FALSE(verify_message(one.certificate, "the plan", "no signature"));
    EXPECT_FALSE(verify_message("no certificate", "the plan", signature));
    EXPECT_FALSE(sign_message(KeyPem{"nonsense"}, "the plan"));
}

TEST_F(Keys, inspect_wants_a_certificate) {
    EXPECT_EQ(inspect("hello").error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(inspect(root_.certificate)->fingerprint.size(), 64U);
}

} // namespace
} // namespace muster::tls
