#include "base/digest.h"
#include "function/commit_check.h"
#include "tls/identity.h"
#include "tls/keys.h"
#include "wire/agreement.h"

#include <gtest/gtest.h>

#include <functional>

namespace muster::function {
namespace {

const std::string own_dn = "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1";
const std::string peer_dn = "SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1";

struct Scene {
    Agreement agreement;
    Commit commit;
    OwnView own;
    Policy policy;
};

Scene scene() {
    const WallTime now = std::chrono::system_clock::now();
    const auto authority = tls::Authority::open(tls::Authority::make_root("job CA", std::chrono::hours{1}, now));
    const Secret key = tls::make_key();
    const std::string identity = tls::job_uri("j1", own_dn);
    const auto request = tls::make_request(key, identity);
    Scene made;
    made.own = {.dn = own_dn,
                .proposal = {.job = "j1", .consumer = "analytics", .recipe = "ue-delay@" + sha256_hex("{}")},
                .recipe = "{}",
                .matrix_digest = "m",
                .sources = {{.name = "ue-delay/train", .digest = "d"}},
                .job_key = key};
    made.agreement = {.job = "j1",
                      .generation = 1,
                      .consumer = "analytics",
                      .recipe = made.own.proposal.recipe,
                      .matrix_digest = "m",
                      .sources = {{"ue-delay/train", "d"}},
                      .batch = 1024,
                      .steps = 10,
                      .members = {{peer_dn, tls::job_uri("j1", peer_dn), 600}, {own_dn, identity, 424}}};
    made.commit.job = "j1";
    made.commit.certificate = *authority->sign(*request, {.uri = identity, .lifetime = std::chrono::hours{1}}, now);
    made.commit.authority = authority->certificate();
    return made;
}

/// Fills roster and digest from the agreement, as a producer does.
void seal(Scene& made) {
    made.commit.agreement = wire::canonical_text(made.agreement);
    made.commit.roster = {.job = made.agreement.job,
                          .generation = made.agreement.generation,
                          .plan_digest = wire::digest_of(made.agreement)};
    for (const AgreedMember& member : made.agreement.members) {
        made.commit.roster.members.push_back({.dn = member.dn,
                                              .identity = member.identity,
                                              .addresses = {},
                                              .batch_rows = member.batch_rows,
                                              .rows_from = member.rows_from});
    }
}

TEST(CommitCheck, gives_the_rank_when_everything_is_as_agreed) {
    Scene made = scene();
    seal(made);
    const auto rank = check_commit(made.commit, made.own, made.policy);
    ASSERT_TRUE(rank.ok()) << rank.error().text();
    EXPECT_EQ(*rank, 1);
}

/// Two sites with rows of their own, 4 batches of an epoch.
Scene pinned_scene() {
    Scene made = scene();
    made.own.proposal.layout = DataLayout::pinned;
    made.own.training_rows = 1'600;
    made.agreement.layout = "pinned";
    made.agreement.matrix_digest.clear();
    made.agreement.sources = {{"ue-delay/train", ""}};
    made.agreement.members[0].rows = 2'400;
    made.agreement.members[0].matrix_digest = "another";
    made.agreement.members[1].rows = 1'600;
    made.agreement.members[1].matrix_digest = "m";
    return made;
}

TEST(CommitCheck, of_pinned_rows_wants_its_own_in_the_plan_and_enough_of_them_in_a_batch) {
    struct Case {
        std::function<void(Scene&)> change;
        const char* words;
    };
    for (const Case& each : std::vector<Case>{
             {[](Scene&) {}, ""},
             {[](Scene& s) { s.agreement.members[1].rows = 1'601; }, "differs from the plan's"},
             {[](Scene& s) { s.agreement.members[1].matrix_digest = "x"; }, "differs from the plan's"},
             {[](Scene& s) { s.agreement.layout = "whole"; }, "another data layout"},
             {[](Scene& s) { s.own.proposal.layout = DataLayout::whole; }, "another data layout"},
             {[](Scene& s) { s.policy.group_rows_min = 401; }, "gradients of its rows would be of 400 rows each"}}) {
        Scene made = pinned_scene();
        each.change(made);
        seal(made);
        made.commit.roster.layout = DataLayout::pinned;
        const auto rank = check_commit(made.commit, made.own, made.policy);
        EXPECT_EQ(rank.ok(), *each.words == '\0');
        if (!rank.ok()) {
            EXPECT_NE(rank.error().text().find(each.words), std::string::npos) << rank.error().text();
        }
    }
}

TEST(CommitCheck, lets_a_function_without_the_data_hold_a_later_stage) {
    Scene made = scene();
    made.own.matrix_digest.clear();
    made.own.sources.clear();
    made.agreement.members[1].stage = {.first_block = 2, .blocks = 2};
    made.agreement.members[1].holds_data = false;
    seal(made);
    made.commit.roster.members[1].stage = made.agreement.members[1].stage;
    const auto rank = check_commit(made.commit, made.own, made.policy);
    ASSERT_TRUE(rank.ok()) << rank.error().text();
    EXPECT_EQ(*rank, 1);
}

struct Row {
    const char* words;
    std::function<void(Scene&)> before_seal;
    std::function<void(Scene&)> after_seal;
};

TEST(CommitCheck, refuses_what_differs) {
    const Row rows[] = {
        {"not that of the agreement", {}, [](Scene& s) { s.commit.roster.plan_digest = std::string(64, '0'); }},
        {"another job", [](Scene& s) { s.agreement.job = "j2"; }, {}},
        {"another generation", [](Scene& s) { s.agreement.generation = 0; }, {}},
        {"consumer or recipe", [](Scene& s) { s.agreement.consumer = "mallory"; }, {}},
        {"recipe that was prepared", [](Scene& s) { s.own.recipe = "{\"x\":1}"; }, {}},
        {"encoded data", [](Scene& s) { s.agreement.matrix_digest = "other"; }, {}},
        {"this function holds the data", [](Scene& s) { s.own.matrix_digest.clear(); }, {}},
        {"this function lacks the data", [](Scene& s) { s.agreement.members[1].holds_data = false; }, {}},
        {"gnb-2,MLTrainingFunction=1 read rows of data that it does not hold",
         [](Scene& s) { s.agreement.members[0].holds_data = false; },
         {}},
        {"rows of \"ue-delay/train\" may not leave this function",
         [](Scene& s) {
             s.agreement.members[0].holds_data = false;
             s.agreement.members[0].stage = {.first_block = 2, .blocks = 2};
         },
         [](Scene& s) { s.commit.roster.members[0].stage = s.agreement.members[0].stage; }},
        {"data source", [](Scene& s) { s.agreement.sources[0].digest = "other"; }, {}},
        {"member 0", {}, [](Scene& s) { s.commit.roster.members[0].batch_rows = 1; }},
        {"member 1", {}, [](Scene& s) { s.commit.roster.members[1].state_share = 0.5; }},
        {"add up to 1.5", [](Scene& s) { s.agreement.members[1].state_share = 0.5; }, {}},
        {"identity of member 0", [](Scene& s) { s.agreement.members[0].identity = "muster://consumer/mallory"; }, {}},
        {"does not work together", [](Scene& s) { s.policy.peers = {"*nwdaf*"}; }, {}},
        {"not in the roster", [](Scene& s) { s.own.dn = "SubNetwork=1,ManagedElement=x,MLTrainingFunction=1"; }, {}},
        {"job key", [](Scene& s) { s.own.job_key = tls::make_key(); }, {}},
    };
    for (const Row& row : rows) {
        Scene made = scene();
        if (row.before_seal) {
            row.before_seal(made);
        }
        seal(made);
        if (row.after_seal) {
            row.after_seal(made);
        }
        const auto rank = check_commit(made.commit, made.own, made.policy);
        ASSERT_FALSE(rank.ok()) << row.words;
        EXPECT_NE(rank.error().text().find(row.words), std::string::npos) << rank.error().text();
    }
}

/// The peer holds no data and is shipped this function's.
Scene shipping_scene() {
    Scene made = scene();
    made.own.proposal.sources = {"ue-delay/train"};
    made.own.sources[0].rows_may_leave = {{.to = peer_dn, .consumer = "analytics"}};
    made.agreement.members[0].holds_data = false;
    made.agreement.members[0].rows_from = own_dn;
    return made;
}

/// The other way round.
Scene receiving_scene() {
    Scene made = scene();
    made.own.proposal.receives_rows = true;
    made.own.matrix_digest.clear();
    made.own.described_digest = "m";
    made.own.sources.clear();
    made.agreement.members[1].holds_data = false;
    made.agreement.members[1].rows_from = peer_dn;
    return made;
}

std::string answer_of(Scene made) {
    seal(made);
    const auto rank = check_commit(made.commit, made.own, made.policy);
    return rank ? "" : rank.error().message;
}

TEST(CommitCheck, lets_rows_go_to_whom_the_catalogue_names) {
    EXPECT_EQ(answer_of(shipping_scene()), "");
    Scene other = shipping_scene();
    other.own.sources[0].rows_may_leave[0].consumer = "somebody else";
    EXPECT_EQ(answer_of(other),
              "rows of \"ue-delay/train\" may not be sent to " + peer_dn +
                  " for \"analytics\" (data[].rows_may_leave)");
    other = shipping_scene();
    other.own.proposal.sources.emplace_back("ue-delay/test"); // was encoded, and would go with the rest
    EXPECT_NE(answer_of(other).find("rows of \"ue-delay/test\" may not"), std::string::npos);
    other = shipping_scene();
    other.agreement.members[0].holds_data = true;
    EXPECT_NE(answer_of(other).find("rows that it holds"), std::string::npos);
    other = shipping_scene();
    other.agreement.micro_rows = 4;
    EXPECT_NE(answer_of(other), "");
}

TEST(CommitCheck, takes_the_rows_that_were_described_from_one_who_holds_them) {
    EXPECT_EQ(answer_of(receiving_scene()), "");
    Scene other = receiving_scene();
    other.own.described_digest = "other";
    EXPECT_EQ(answer_of(other), "the plan sends this function rows that it was not asked to take");
    other = receiving_scene();
    other.own.proposal.receives_rows = false;
    EXPECT_EQ(answer_of(other), "the plan sends this function rows that it was not asked to take");
    other = receiving_scene();
    other.agreement.members[0].holds_data = false;
    EXPECT_NE(answer_of(other), "");
    other = receiving_scene();
    other.agreement.members[1].rows_from.clear();
    EXPECT_NE(answer_of(other).find("read rows of data that it does not hold"), std::string::npos);
}

TEST(CommitCheck, does_not_mind_who_ships_rows_of_its_own) {
    Scene made = receiving_scene();
    made.agreement.members.push_back(
        {.dn = "SubNetwork=1,ManagedElement=gnb-3,MLTrainingFunction=1",
         .identity = tls::job_uri("j1", "SubNetwork=1,ManagedElement=gnb-3,MLTrainingFunction=1"),
         .batch_rows = 1,
         .rows_from = {}});
    EXPECT_EQ(answer_of(made), "") << "a second holder";
    made.agreement.members[2].holds_data = false;
    made.agreement.members[2].rows_from = own_dn;
    EXPECT_NE(answer_of(made).find("by two members"), std::string::npos);
}

} // namespace
} // namespace muster::function
