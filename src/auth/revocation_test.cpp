#include "auth/revocation.h"
#include "port/fake/memory_store.h"

#include <gtest/gtest.h>

namespace muster::auth {
namespace {

class RevocationsTest : public testing::Test {
protected:
    MemoryStore store_;
    ManualClock clock_;
    Revocations revocations_{store_, clock_};
};

TEST_F(RevocationsTest, count_from_the_next_check_on_and_say_why) {
    EXPECT_TRUE(revocations_.check("muster://function/x", "01"));
    ASSERT_TRUE(revocations_.revoke_identity("muster://function/x", "stolen", "muster://consumer/root"));
    const auto refused = revocations_.check("muster://function/x", "");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_EQ(refused.error().message,
              "muster://function/x was revoked on 2026-01-01T00:00:00.000Z (stolen); ask the operator to restore or "
              "re-enrol it");
    EXPECT_TRUE(revocations_.check("muster://function/y", "01"));
}

TEST_F(RevocationsTest, find_an_identity_in_any_spelling) {
    ASSERT_TRUE(revocations_.revoke_identity("muster://function/SubNetwork%3D1", "stolen", "root"));
    EXPECT_FALSE(revocations_.check(tls::function_uri("SubNetwork=1"), ""));
}

TEST_F(RevocationsTest, survive_repeats_and_keep_the_first_reason) {
    ASSERT_TRUE(revocations_.revoke_serial("0A", "first", "root"));
    ASSERT_TRUE(revocations_.revoke_serial("0a", "second", "root"));
    const auto all = revocations_.list();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.front().subject, "serial:0a");
    EXPECT_EQ(all.front().reason, "first");
    EXPECT_FALSE(revocations_.check("muster://consumer/a", "0A"));
}

TEST_F(RevocationsTest, can_be_taken_back) {
    ASSERT_TRUE(revocations_.revoke_serial("0a", "mistake", "root"));
    ASSERT_TRUE(revocations_.restore("serial:0a"));
    EXPECT_TRUE(revocations_.check("muster://consumer/a", "0a"));
    EXPECT_EQ(revocations_.restore("serial:0a").error().code, ErrorCode::not_found);
}

TEST_F(RevocationsTest, refuse_what_names_nobody) {
    EXPECT_FALSE(revocations_.revoke_identity("gnb-1", "", "root"));
    EXPECT_FALSE(revocations_.revoke_identity("muster://nobody/x", "", "root"));
    EXPECT_FALSE(revocations_.revoke_serial("", "", "root"));
    EXPECT_FALSE(revocations_.revoke_serial("xyz", "", "root"));
    EXPECT_FALSE(revocations_.revoke_serial("aa", std::string(2'000, 'x'), "root"));
}

TEST_F(RevocationsTest, let_nobody_in_by_default_when_the_store_is_down) {
    store_.set_down(true);
    EXPECT_THROW((void)revocations_.check("muster://consumer/a", "0a"), StoreDown);
}

} // namespace
} // namespace muster::auth
