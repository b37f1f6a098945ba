#include "auth/gate.h"
#include "auth/policy.h"
#include "port/fake/memory_store.h"

#include <gtest/gtest.h>

namespace muster::auth {
namespace {

using enum Operation;

constexpr const char* policy_text = R"(identities:
  "DNS:oss.operator.example": {role: consumer, name: oss}
  "DNS:cell-7.operator.example": {role: function, name: "SubNetwork=1,MLTrainingFunction=7"}
rules:
  - who: muster://consumer/oss
    may: [create, read, update, delete, subscribe, plan]
    on: SubNetwork=1
    priority_min: 10
  - who: [muster://consumer/guest-*, "DNS:*.partner.example"]
    may: read
    on: SubNetwork=1,ManagedElement=gnb-1
  - who: muster://consumer/root
    may: [admin, recipe, read, update, model_download]
    on: "*"
)";

Result<Policy> policy_of(const std::string& text) {
    const auto document = wire::parse_document(text, "policy.yaml");
    return document ? Policy::parse(*document) : document.error();
}

Principal caller(const Policy& policy, const std::string& san) {
    return policy.recognise(tls::parse_identity(san)).value();
}

nrm::Dn dn(const std::string& text) {
    return nrm::Dn::parse(text).value();
}

TEST(Policy, allows_what_a_row_allows_and_nothing_else) {
    const Policy policy = policy_of(policy_text).value();
    const struct {
        std::string san;
        Operation operation;
        std::string object;
        bool allowed;
    } table[] = {
        {"muster://consumer/oss", create, "SubNetwork=1,MLTrainingFunction=mlt", true},
        {"muster://consumer/oss", remove, "SubNetwork=1", true},
        {"muster://consumer/oss", create, "SubNetwork=10", false},
        {"muster://consumer/oss", create, "SubNetwork=2,MLTrainingFunction=mlt", false},
        {"muster://consumer/oss", model_download, "SubNetwork=1", false},
        {"muster://consumer/oss2", read, "SubNetwork=1", false},
        {"muster://function/oss", read, "SubNetwork=1", false},
        {"muster://consumer/guest-a", read, "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1", true},
        {"muster://consumer/guest-a", read, "SubNetwork=1", false},
        {"muster://consumer/guest-a", update, "SubNetwork=1,ManagedElement=gnb-1", false},
        {"DNS:lab.partner.example", read, "SubNetwork=1,ManagedElement=gnb-1", true},
        {"DNS:lab.partner.example.org", read, "SubNetwork=1,ManagedElement=gnb-1", false},
        {"DNS:oss.operator.example", create, "SubNetwork=1", true},
        {"muster://consumer/root", read, "SubNetwork=9", true},
    };
    for (const auto& row : table) {
        EXPECT_EQ(policy.authorise(caller(policy, row.san), row.operation, dn(row.object)).ok(), row.allowed)
            << row.san << " " << name_of(row.operation) << " " << row.object;
    }
    EXPECT_TRUE(policy.authorise(caller(policy, "muster://consumer/root"), admin, std::nullopt));
    EXPECT_FALSE(policy.authorise(caller(policy, "muster://consumer/oss"), admin, std::nullopt));
    EXPECT_TRUE(policy.authorise(caller(policy, "muster://consumer/oss"), plan, std::nullopt));
}

TEST(Policy, denies_everything_when_it_is_empty) {
    for (const char* text : {"{}", "rules: []", "identities: {}\nrules: []"}) {
        const Policy policy = policy_of(text).value();
        EXPECT_FALSE(policy.authorise(caller(policy, "muster://consumer/oss"), read, dn("SubNetwork=1")));
        EXPECT_FALSE(policy.authorise(caller(policy, "muster://function/x"), plan, std::nullopt));
    }
}

TEST(Policy, a_refusal_names_caller_operation_object_and_what_is_allowed) {
    const Policy policy = policy_of(policy_text).value();
    const auto refused =
        policy.authorise(caller(policy, "muster://consumer/guest-a"), remove, dn("SubNetwork=1,ManagedElement=gnb-1"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_EQ(refused.error().message,
              "muster://consumer/guest-a may not delete SubNetwork=1,ManagedElement=gnb-1 by the policy of this "
              "producer");
    EXPECT_EQ(refused.error().allowed, std::vector<std::string>{"read"});
}

TEST(Policy, a_foreign_san_becomes_the_mapped_identity) {
    const Policy policy = policy_of(policy_text).value();
    const Principal oss = caller(policy, "DNS:oss.operator.example");
    EXPECT_EQ(oss.role(), tls::Role::consumer);
    EXPECT_EQ(oss.name(), "muster://consumer/oss");
    EXPECT_EQ(oss.certificate_san(), "DNS:oss.operator.example");
    const Principal cell = caller(policy, "DNS:cell-7.operator.example");
    EXPECT_EQ(cell.role(), tls::Role::function);
    EXPECT_EQ(cell.identity().name, "SubNetwork=1,MLTrainingFunction=7");
    EXPECT_EQ(caller(policy, "DNS:unknown.example").role(), tls::Role::other);
}

TEST(Policy, job_certificates_are_refused_whatever_the_rows_say) {
    const Policy policy = policy_of("rules: [{who: '*', may: [read], on: '*'}]").value();
    const auto refused = policy.recognise(tls::parse_identity(tls::job_uri("job-1", "SubNetwork=1")));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_NE(refused.error().message.find("job certificate"), std::string::npos);
    EXPECT_EQ(policy.recognise({}).error().code, ErrorCode::unauthenticated);
}

TEST(Policy, limits_how_urgent_a_priority_may_be) {
    const Policy policy = policy_of(policy_text).value();
    const nrm::Dn process = dn("SubNetwork=1,MLTrainingFunction=mlt,MLTrainingProcess=1");
    const Principal oss = caller(policy, "muster://consumer/oss");
    EXPECT_TRUE(policy.authorise_priority(oss, process, 10));
    const auto refused = policy.authorise_priority(oss, process, 9);
    ASSERT_FALSE(refused);
    EXPECT_EQ(
        refused.error().text(),
        "/attributes/priority: muster://consumer/oss may set priorities of 10 and above (lower runs first), not 9");
    EXPECT_TRUE(policy.authorise_priority(caller(policy, "muster://consumer/root"), process, 0)) << "no limit given";
    EXPECT_FALSE(policy.authorise_priority(caller(policy, "muster://consumer/guest-a"), process, 500));
}

TEST(Policy, mistakes_name_the_place_the_allowed_values_and_the_nearest) {
    const std::pair<std::string, std::string> table[] = {
        {"rules:\n  - who: muster://consumer/a\n    may: [raed]\n    on: '*'\n", "did you mean \"read\""},
        {"rules:\n  - who: muster://consumer/a\n    may: [read]\n", "is required"},
        {"rules:\n  - who: muster://consumer/a\n    on: '*'\n", "/rules/0/may: is required"},
        {"rules:\n  - may: [read]\n    on: '*'\n", "/rules/0/who: is required"},
        {"rules:\n  - who: oss\n    may: [read]\n    on: '*'\n", "\"oss\" is no identity"},
        {"rules:\n  - who: muster://admin/oss\n    may: [read]\n    on: '*'\n", "is no identity"},
        {"rules:\n  - who: muster://job/*\n    may: [read]\n    on: '*'\n", "matches nobody"},
        {"rules:\n  - who: muster://consumer/a\n    may: [read]\n    on: SubNetwork\n", "/rules/0/on"},
        {"rules:\n  - who: muster://consumer/a\n    may: [read]\n    on: ['*', SubNetwork=1]\n", "must stand alone"},
        {"rules:\n  - who: muster://consumer/a\n    may: [read]\n    on: '*'\n    priorty_min: 3\n", "priority_min"},
        {"rules:\n  - who: muster://consumer/a\n    may: [read]\n    on: '*'\n    priority_min: -1\n", "priority_min"},
        {"rule: []\n", "\"rules\""},
        {"identities: {'DNS:a': {role: consmer, name: a}}\n", "did you mean \"consumer\""},
        {"identities: {'DNS:a': {role: job, name: a}}\n", "allowed: consumer, function, producer"},
        {"identities: {'DNS:a': {role: function, name: a}}\n", "name"},
        {"identities: {'host': {role: consumer, name: a}}\n", "is no SAN"},
        {"identities: {'muster://consumer/b': {role: consumer, name: a}}\n", "speaks for itself"},
        {"[]\n", "object"},
    };
    for (const auto& [text, words] : table) {
        const auto refused = policy_of(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_NE(refused.error().text().find(words), std::string::npos) << text << refused.error().text();
        EXPECT_NE(refused.error().text().find("policy.yaml:"), std::string::npos) << refused.error().text();
    }
}

TEST(Gate, lets_nobody_in_who_is_revoked_by_identity_serial_or_mapped_name) {
    MemoryStore store;
    const ManualClock clock;
    Revocations revocations{store, clock};
    const Gate gate{policy_of(policy_text).value(), revocations};
    const tls::Identity oss = tls::parse_identity("muster://consumer/oss");
    const tls::Identity foreign = tls::parse_identity("DNS:oss.operator.example");
    ASSERT_TRUE(gate.admit(oss, "aa01"));
    ASSERT_TRUE(gate.authorise(*gate.admit(oss, ""), read, dn("SubNetwork=1")));
    ASSERT_TRUE(revocations.revoke("serial:AA01", "laptop lost", "admin"));
    EXPECT_EQ(gate.admit(oss, "aa01").error().code, ErrorCode::permission_denied);
    EXPECT_TRUE(gate.admit(oss, "aa02"));
    EXPECT_TRUE(gate.admit(foreign, "aa03"));
    ASSERT_TRUE(revocations.revoke("identity:muster://consumer/oss", "left", "admin"));
    EXPECT_FALSE(gate.admit(oss, "aa02"));
    EXPECT_FALSE(gate.admit(foreign, "aa03")) << "a mapped certificate speaks for the revoked name";
}

} // namespace
} // namespace muster::auth
