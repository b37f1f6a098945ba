#include "auth/enrolment.h"
#include "port/fake/memory_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace muster::auth {
namespace {

using namespace std::chrono_literals;

const std::string gnb = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
const std::string other_gnb = "SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1";

class EnrolmentTest : public testing::Test {
protected:
    MemoryStore store_;
    ManualClock clock_;
    Revocations revocations_{store_, clock_};
    tls::Authority authority_ =
        tls::Authority::open(tls::Authority::make_root("Muster CA", 24h * 365, clock_.wall_now())).value();
    Enrolment enrolment_{store_, authority_, revocations_, clock_};

    std::string token(const std::string& dn = gnb) {
        return enrolment_.create_token(dn, 1h, "muster://consumer/root")->token.reveal();
    }
    static std::string request() {
        return tls::make_request(tls::make_key(), tls::function_uri("SubNetwork=evil,MLTrainingFunction=1")).value();
    }
};

TEST_F(EnrolmentTest, gives_the_identity_of_the_token_not_of_the_request) {
    const auto enrolled = enrolment_.enrol(token(), gnb, request());
    ASSERT_TRUE(enrolled) << enrolled.error().text();
    const auto info = tls::inspect(enrolled->certificate).value();
    EXPECT_EQ(info.sans, std::vector<std::string>{tls::function_uri(gnb)});
    EXPECT_EQ(info.not_after, clock_.wall_now() + 24h * 30);
    EXPECT_EQ(enrolled->authority, authority_.certificate());
    EXPECT_TRUE(enrolled->certificate.ends_with(enrolled->authority));
}

TEST_F(EnrolmentTest, keeps_only_the_digest_of_a_token) {
    const std::string secret = token();
    EXPECT_EQ(secret.size(), 64U);
    for (const Record& record : store_.list("token", "")) {
        EXPECT_EQ(record.key.find(secret), std::string::npos);
        EXPECT_EQ(record.body.find(secret), std::string::npos);
    }
}

TEST_F(EnrolmentTest, a_token_works_once) {
    const std::string secret = token();
    ASSERT_TRUE(enrolment_.enrol(secret, gnb, request()));
    const auto refused = enrolment_.enrol(secret, gnb, request());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::conflict);
    EXPECT_NE(refused.error().message.find("was used on 2026-01-01"), std::string::npos) << refused.error().message;
}

TEST_F(EnrolmentTest, the_same_call_again_gets_the_same_answer_since_answers_are_lost) {
    const std::string secret = token();
    const std::string csr = request();
    const auto first = enrolment_.enrol(secret, gnb, csr);
    const auto again = enrolment_.enrol(secret, gnb, csr);
    ASSERT_TRUE(again);
    EXPECT_EQ(first->certificate, again->certificate);
}

TEST_F(EnrolmentTest, of_many_callers_at_once_one_wins) {
    const std::string secret = token();
    std::atomic<int> won{0};
    std::atomic<int> refused{0};
    {
        std::vector<std::jthread> callers;
        for (int i = 0; i < 8; ++i) {
            callers.emplace_back([&, csr = request()] {
                const auto result = enrolment_.enrol(secret, gnb, csr);
                (result ? won : refused)++;
            });
        }
    }
    EXPECT_EQ(won, 1);
    EXPECT_EQ(refused, 7);
}

TEST_F(EnrolmentTest, an_expired_token_says_so) {
    const std::string secret = token();
    clock_.advance(1h);
    const auto refused = enrolment_.enrol(secret, gnb, request());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_NE(refused.error().message.find("expired on 2026-01-01T01:00:00"), std::string::npos);
}

TEST_F(EnrolmentTest, a_token_of_another_function_is_refused_and_stays_usable) {
    const std::string secret = token();
    for (const std::string& dn : {other_gnb, std::string{"SubNetwork=1"}, std::string{"nonsense"}, std::string{}}) {
        const auto refused = enrolment_.enrol(secret, dn, request());
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
        EXPECT_NE(refused.error().message.find("made for another function"), std::string::npos);
        EXPECT_EQ(refused.error().message.find(gnb), std::string::npos) << "whose it is, is not told";
    }
    EXPECT_TRUE(enrolment_.enrol(secret, gnb, request()));
}

TEST_F(EnrolmentTest, an_unknown_token_is_refused) {
    for (const std::string& text : {std::string{}, std::string{"abc"}, random_hex(32), std::string(100'000, 'x')}) {
        EXPECT_EQ(enrolment_.enrol(text, gnb, request()).error().code, ErrorCode::unauthenticated);
    }
}

TEST_F(EnrolmentTest, a_bad_request_does_not_use_the_token_up) {
    const std::string secret = token();
    EXPECT_EQ(enrolment_.enrol(secret, gnb, "no request").error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(enrolment_.enrol(secret, gnb, request()));
}

TEST_F(EnrolmentTest, tokens_are_for_functions_and_for_a_bounded_time) {
    EXPECT_EQ(enrolment_.create_token("SubNetwork=1", 1h, "root").error().where, "dn");
    EXPECT_EQ(enrolment_.create_token("nonsense", 1h, "root").error().where, "dn");
    EXPECT_EQ(enrolment_.create_token(gnb, 0s, "root").error().where, "lifetime");
    EXPECT_EQ(enrolment_.create_token(gnb, 24h * 8, "root").error().where, "lifetime");
}

TEST_F(EnrolmentTest, the_number_of_tokens_is_limited_and_old_ones_go) {
    Enrolment few{store_, authority_, revocations_, clock_, {.tokens_max = 3}};
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(few.create_token(gnb, 1h, "root"));
    }
    EXPECT_EQ(few.create_token(gnb, 1h, "root").error().code, ErrorCode::resource_exhausted);
    clock_.advance(24h * 8);
    EXPECT_TRUE(few.create_token(gnb, 1h, "root"));
    EXPECT_EQ(store_.list("token", "").size(), 1U);
}

TEST_F(EnrolmentTest, renewal_keeps_the_identity_and_takes_a_new_key) {
    const auto first = enrolment_.enrol(token(), gnb, request());
    const auto identity = tls::inspect(first->certificate)->identity;
    clock_.advance(24h * 20);
    const auto renewed = enrolment_.renew(identity, tls::inspect(first->certificate)->serial, request());
    ASSERT_TRUE(renewed) << renewed.error().text();
    const auto info = tls::inspect(renewed->certificate).value();
    EXPECT_EQ(info.identity, identity);
    EXPECT_EQ(info.not_after, clock_.wall_now() + 24h * 30);
    EXPECT_NE(info.serial, tls::inspect(first->certificate)->serial);
}

TEST_F(EnrolmentTest, only_functions_renew_and_no_revoked_ones) {
    EXPECT_EQ(enrolment_.renew(tls::parse_identity("muster://consumer/oss"), "", request()).error().code,
              ErrorCode::permission_denied);
    EXPECT_EQ(enrolment_.renew(tls::parse_identity(tls::job_uri("j", gnb)), "", request()).error().code,
              ErrorCode::permission_denied);
    ASSERT_TRUE(revocations_.revoke("identity:" + tls::function_uri(gnb), "stolen", "root"));
    EXPECT_EQ(enrolment_.renew(tls::parse_identity(tls::function_uri(gnb)), "", request()).error().code,
              ErrorCode::permission_denied);
}

TEST_F(EnrolmentTest, a_revoked_function_gets_neither_token_nor_certificate) {
    const std::string secret = token();
    ASSERT_TRUE(revocations_.revoke("identity:" + tls::function_uri(gnb), "stolen", "root"));
    EXPECT_EQ(enrolment_.create_token(gnb, 1h, "root").error().code, ErrorCode::permission_denied);
    EXPECT_EQ(enrolment_.enrol(secret, gnb, request()).error().code, ErrorCode::permission_denied);
}

} // namespace
} // namespace muster::auth
