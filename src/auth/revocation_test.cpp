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
    ASSERT_TRUE(revocations_.revoke("identity:muster://function/x", "stolen", "muster://consumer/root"));
    const auto refused = revocations_.check("muster://function/x", "");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_EQ(refused.error().message,
              "muster://function/x was revoked on 2026-01-01T00:00:00.000Z (stolen); ask the operator to restore or "
              "re-enrol it");
    EXPECT_TRUE(revocations_.check("muster://function/y", "01"));
}

TEST_F(RevocationsTest, find_an_identity_in_any_spelling) {
    ASSERT_TRUE(revocations_.revoke("identity:muster://function/SubNetwork%3D1", "stolen", "root"));
    EXPECT_FALSE(revocations_.check(tls::function_uri("SubNetwork=1"), ""));
}

TEST_F(RevocationsTest, survive_repeats_and_keep_the_first_reason) {
    ASSERT_TRUE(revocations_.revoke("serial:0A", "first", "root"));
    ASSERT_TRUE(revocations_.revoke("serial:0a", "second", "root"));
    const auto all = revocations_.list();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.front().subject, "serial:0a");
    EXPECT_EQ(all.front().reason, "first");
    EXPECT_FALSE(revocations_.check("muster://consumer/a", "0A"));
}

TEST_F(RevocationsTest, say_whether_they_are_new_and_what_stands) {
    const auto first = revocations_.revoke("serial:0a", "lost", "root");
    ASSERT_TRUE(first.ok());
    EXPECT_TRUE(first->is_new);
    const auto second = revocations_.revoke("serial:0a", "again", "other");
    ASSERT_TRUE(second.ok());
    EXPECT_FALSE(second->is_new);
    EXPECT_EQ(second->standing.reason, "lost");
    EXPECT_EQ(revocations_.find("serial:0A")->by, "root");
    EXPECT_EQ(revocations_.find("serial:0b").error().code, ErrorCode::not_found);
}

TEST_F(RevocationsTest, know_a_serial_number_in_any_spelling) {
    for (const char* text : {"serial:0AFF", "serial:afF", "serial:0a:ff", "serial:00:0a:ff"}) {
        EXPECT_EQ(Revocations::subject_of(text).value(), "serial:0aff") << text;
    }
    EXPECT_EQ(Revocations::subject_of("serial:0").value(), "serial:00");
    EXPECT_FALSE(Revocations::subject_of("0aff")) << "neither an identity nor a serial number by its own word";
}

TEST_F(RevocationsTest, can_be_taken_back) {
    ASSERT_TRUE(revocations_.revoke("serial:0a", "mistake", "root"));
    ASSERT_TRUE(revocations_.restore("serial:0a"));
    EXPECT_TRUE(revocations_.check("muster://consumer/a", "0a"));
    EXPECT_EQ(revocations_.restore("serial:0a").error().code, ErrorCode::not_found);
}

TEST_F(RevocationsTest, refuse_what_names_nobody) {
    EXPECT_FALSE(revocations_.revoke("identity:gnb-1", "", "root"));
    EXPECT_FALSE(revocations_.revoke("identity:muster://nobody/x", "", "root"));
    EXPECT_FALSE(revocations_.revoke("serial:", "", "root"));
    EXPECT_FALSE(revocations_.revoke("serial:xyz", "", "root"));
    EXPECT_FALSE(revocations_.revoke("serial:aa", std::string(2'000, 'x'), "root"));
}

TEST_F(RevocationsTest, let_nobody_in_by_default_when_the_store_is_down) {
    store_.set_down(true);
    EXPECT_THROW((void)revocations_.check("muster://consumer/a", "0a"), StoreDown);
}

} // namespace
} // namespace muster::auth
