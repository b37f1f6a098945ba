#include "function/policy.h"

#include <gtest/gtest.h>

namespace muster::function {
namespace {

constexpr auto noon = std::chrono::hours{24 * 20'000 + 12};

Propose proposal() {
    return {.job = "j1",
            .consumer = "SubNetwork=1,ManagedElement=analytics",
            .inference = "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS",
            .sources = {"ue-delay/train"},
            .peers = {"SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1"}};
}

const Capacity capacity{.cpu_cores = 2.0, .memory_bytes = 1'000'000'000};
const std::vector<DataSource> sources{{.name = "ue-delay/train", .bytes = 10, .digest = "d", .may_leave = false}};

TEST(Policy, an_empty_policy_accepts_everything_within_capacity) {
    const auto judged = judge({}, proposal(), capacity, sources, std::nullopt, WallTime{noon});
    ASSERT_TRUE(std::holds_alternative<Limits>(judged));
    EXPECT_DOUBLE_EQ(std::get<Limits>(judged).cpu_cores, 2.0);
}

TEST(Policy, shares_make_a_smaller_offer) {
    Propose asked = proposal();
    asked.memory_bytes = 800'000'000;
    const auto judged =
        judge({.cpu_share_max = 0.5, .memory_share_max = 0.5}, asked, capacity, sources, std::nullopt, WallTime{noon});
    ASSERT_TRUE(std::holds_alternative<Limits>(judged));
    EXPECT_DOUBLE_EQ(std::get<Limits>(judged).cpu_cores, 1.0);
    EXPECT_TRUE(std::get<Limits>(judged).smaller_than_asked);
}

struct Row {
    Policy policy;
    const char* code{};
};

TEST(Policy, refuses_with_a_code_for_each_rule) {
    const Row rows[] = {
        {{.hours = {22, 6}}, "policy_hours"},
        {{.consumers = {"SubNetwork=2,*"}}, "policy_consumer"},
        {{.inferences = {"NG_RAN_*"}}, "policy_inference"},
        {{.peers = {"*nwdaf*"}}, "policy_peer"},
    };
    for (const Row& row : rows) {
        const auto judged = judge(row.policy, proposal(), capacity, sources, std::nullopt, WallTime{noon});
        ASSERT_TRUE(std::holds_alternative<Refuse>(judged)) << row.code;
        EXPECT_EQ(std::get<Refuse>(judged).code, row.code);
    }
    EXPECT_EQ(std::get<Refuse>(judge({}, proposal(), capacity, {}, std::nullopt, WallTime{noon})).code, "no_data");
    EXPECT_EQ(std::get<Refuse>(judge({}, proposal(), capacity, sources, "j0", WallTime{noon})).code, "busy");
    Propose own = proposal();
    own.model_kind = "torchscript 1a2b3c4d5e6f";
    EXPECT_EQ(std::get<Refuse>(judge({}, own, capacity, sources, std::nullopt, WallTime{noon})).code, "policy_model");
    EXPECT_TRUE(std::holds_alternative<Limits>(
        judge({.users_models = true}, own, capacity, sources, std::nullopt, WallTime{noon})));
    Propose egress = proposal();
    egress.receivers = {"SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1"};
    EXPECT_EQ(std::get<Refuse>(judge({}, egress, capacity, sources, std::nullopt, WallTime{noon})).code,
              "policy_egress");
}

TEST(Policy, lets_rows_leave_for_whom_the_catalogue_names_and_nobody_else) {
    std::vector<DataSource> granted = sources;
    granted[0].rows_may_leave = {{.to = "*ManagedElement=gnb-2,*", .consumer = proposal().consumer}};
    const auto answer = [&](const std::string& to, const std::string& consumer) {
        Propose asked = proposal();
        asked.row_receivers = {to};
        asked.consumer = consumer;
        const auto judged = judge({}, asked, capacity, granted, std::nullopt, WallTime{noon});
        const auto* refusal = std::get_if<Refuse>(&judged);
        return refusal == nullptr ? std::string{} : refusal->code + ": " + refusal->words;
    };
    const std::string near = "SubNetwork=1,ManagedElement=gnb-2,MLTrainingFunction=1";
    const std::string far = "SubNetwork=1,ManagedElement=gnb-3,MLTrainingFunction=1";
    EXPECT_EQ(answer(near, proposal().consumer), "");
    EXPECT_EQ(answer(far, proposal().consumer),
              "policy_egress: rows of \"ue-delay/train\" may not be sent to " + far + " for \"" + proposal().consumer +
                  "\" (data[].rows_may_leave)");
    EXPECT_NE(answer(near, "somebody else"), "");
    granted[0].pinned = true;
    EXPECT_NE(answer(near, proposal().consumer), "") << "whatever else the catalogue says";
    granted[0] = sources[0];
    granted[0].may_leave = true;
    EXPECT_NE(answer(near, proposal().consumer), "") << "what is computed from rows is not the rows";
}

TEST(Policy, takes_no_rows_of_others_where_none_are_wanted) {
    Propose asked = proposal();
    asked.sources.clear();
    asked.receives_rows = true;
    EXPECT_TRUE(std::holds_alternative<Limits>(judge({}, asked, capacity, sources, std::nullopt, WallTime{noon})));
    const auto judged = judge({.received_bytes_max = 0}, asked, capacity, sources, std::nullopt, WallTime{noon});
    EXPECT_EQ(std::get<Refuse>(judged).code, "policy_rows");
}

TEST(Policy, closed_hours_say_when_to_come_back) {
    const auto judged = judge({.hours = {22, 6}}, proposal(), capacity, sources, std::nullopt, WallTime{noon});
    EXPECT_EQ(std::get<Refuse>(judged).retry_after_seconds, 10 * 3600);
}

} // namespace
} // namespace muster::function
