#include "nrm/request_rules.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace muster::nrm {
namespace {

constexpr std::array metrics{MetricRule{"MAE", false}, MetricRule{"accuracy", true}};

Problems problems_of(const char* text) {
    Problems problems;
    check_request(Json::parse(text), metrics, problems);
    return problems;
}

TEST(RequestRules, accept_complete_requests) {
    for (const char* good : {
             R"({"mLTrainingType": "INITIAL_TRAINING", "aIMLInferenceName": "x"})",
             R"({"mLTrainingType": "FINE_TUNING", "aIMLInferenceName": "x", "candidateTrainingDataSource": ["a"]})",
             R"({"mLTrainingType": "PRE_SPECIALISED_TRAINING", "expectedInferenceScope": ["x"]})",
             R"({"mLTrainingType": "RE_TRAINING", "mLModelRef": "SubNetwork=1,MLModelRepository=1,MLModel=m"})",
             R"({"mLTrainingType": "INITIAL_TRAINING", "aIMLInferenceName": "x", "mLKnowledgeName": "k",
                 "candidateTrainingDataSource": [], "distributedTrainingExpectation": {"expectedTrainingTime": 1},
                 "performanceRequirements": [
                    {"inferenceOutputName": "d", "performanceMetric": "mae", "performanceScore": 300.5},
                    {"inferenceOutputName": "d", "performanceMetric": "Accuracy", "performanceScore": 100}]})",
         }) {
        EXPECT_TRUE(problems_of(good).empty()) << good << problems_of(good)[0].text();
    }
}

TEST(RequestRules, name_what_is_missing_or_contradicts) {
    struct Case {
        const char* text;
        const char* where;
        const char* message;
    };
    const std::vector<Case> bad{
        {R"({"mLTrainingType": "INITIAL_TRAINING"})", "/attributes/aIMLInferenceName", "required"},
        {R"({"mLTrainingType": "FINE_TUNING", "aIMLInferenceName": ""})",
         "/attributes/aIMLInferenceName",
         "FINE_TUNING"},
        {R"({"mLTrainingType": "PRE_SPECIALISED_TRAINING"})", "/attributes/expectedInferenceScope", "required"},
        {R"({"mLTrainingType": "RE_TRAINING"})", "/attributes/mLModelRef", "required"},
        {R"({"mLModelRef": "SubNetwork=1"})", "/attributes/mLModelRef", "expected the name of an MLModel"},
        {R"({"mLModelCoordinationGroupRef": "MLModel=1"})", "/attributes/mLModelCoordinationGroupRef", "got that of"},
        {R"({"mLKnowledgeName": "k", "candidateTrainingDataSource": ["a"]})", "/attributes/mLKnowledgeName", "exclude"},
        {R"({"distributedTrainingExpectation": {"expectedTrainingTime": 0}})",
         "/attributes/distributedTrainingExpectation/expectedTrainingTime",
         "above 0, got 0"},
        {R"({"performanceRequirements": [{"performanceMetric": "MAE", "performanceScore": 1}]})",
         "/attributes/performanceRequirements/0/inferenceOutputName",
         "needs inferenceOutputName"},
        {R"({"performanceRequirements": [{"inferenceOutputName": "d", "performanceMetric": "MEA", "performanceScore": 1}]})",
         "/attributes/performanceRequirements/0/performanceMetric",
         "did you mean \"MAE\"?"},
        {R"({"performanceRequirements": [
            {"inferenceOutputName": "d", "performanceMetric": "accuracy", "performanceScore": 100.5}]})",
         "/attributes/performanceRequirements/0/performanceScore",
         "in percent, 0 to 100, got 100.5"},
        {R"({"performanceRequirements": [{"inferenceOutputName": "d", "performanceMetric": "MAE", "performanceScore": -1}]})",
         "/attributes/performanceRequirements/0/performanceScore",
         "unit of the target"},
    };
    for (const Case& wrong : bad) {
        const Problems problems = problems_of(wrong.text);
        ASSERT_EQ(problems.size(), 1U) << wrong.text;
        EXPECT_EQ(problems[0].where, wrong.where);
        EXPECT_NE(problems[0].text().find(wrong.message), std::string::npos) << problems[0].text();
    }
}

TEST(SubscriptionRules, want_https_and_a_complete_scope) {
    const auto problem_of = [](const char* text) {
        Problems problems;
        check_subscription(Json::parse(text), problems);
        return problems.empty() ? std::string{} : problems[0].text();
    };
    EXPECT_EQ(problem_of(R"({"notificationRecipientAddress": "https://nms.example:8443/x"})"), "");
    EXPECT_EQ(problem_of(R"({"notificationRecipientAddress": "https://n",
                             "scope": {"scopeType": "BASE_SUBTREE", "scopeLevel": 2}})"),
              "");
    EXPECT_NE(problem_of(R"({"notificationRecipientAddress": "http://n"})").find("https"), std::string::npos);
    EXPECT_NE(problem_of(R"({"notificationRecipientAddress": "https://"})"), "");
    EXPECT_NE(problem_of(R"({"notificationRecipientAddress": "https://a b"})"), "");
    EXPECT_NE(problem_of(R"({"notificationRecipientAddress": "https://n", "scope": {"scopeType": "BASE_SUBTREE"}})")
                  .find("/attributes/scope/scopeLevel"),
              std::string::npos);
    EXPECT_NE(problem_of(R"({"notificationRecipientAddress": "https://n", "scope": {"dataNodeSelector": "/"}})"), "");
}

} // namespace
} // namespace muster::nrm
