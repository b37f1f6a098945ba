#include "nrm/json_text.h"
#include "nrm/validate.h"
#include "nrm/value_check.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

namespace muster::nrm {
namespace {

const ClassRow& row_of(std::string_view name) {
    return **class_of(name);
}

const ClassRow& request_row() {
    return row_of("MLTrainingRequest");
}

Json minimal() {
    return Json{{"trainingRequestSource", "consumer-1"}, {"mLTrainingType", "INITIAL_TRAINING"}};
}

Json with(const std::string& name, Json value) {
    Json attributes = minimal();
    attributes[name] = std::move(value);
    return attributes;
}

std::string all_of(const Problems& problems) {
    std::string text;
    for (const Error& problem : problems) {
        text += problem.text() + "\n";
    }
    return text;
}

TEST(Created, puts_defaults_in_and_drops_read_only_values) {
    Problems problems;
    const Json kept = created(request_row(), with("requestStatus", "FINISHED"), problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    EXPECT_EQ(kept,
              (Json{{"trainingRequestSource", "consumer-1"},
                    {"mLTrainingType", "INITIAL_TRAINING"},
                    {"requestStatus", "NOT_STARTED"},
                    {"cancelRequest", false},
                    {"suspendRequest", false}}));
}

TEST(Created, puts_defaults_into_structures_and_lists) {
    Problems problems;
    Json attributes = with("distributedTrainingExpectation", Json{{"expectedTrainingTime", 20.0}});
    attributes["fLRequirement"] = Json::parse(
        R"({"fLClientSelectionCriteria": [{"minimumAvailableDataSamples": 1, "minimumAvailableTimeDuration": 2}]})");
    const Json kept = created(request_row(), attributes, problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    EXPECT_EQ(kept.at("/distributedTrainingExpectation/dataSplitIndication"_json_pointer), false);
    EXPECT_EQ(kept.at("/distributedTrainingExpectation/expectedTrainingTime"_json_pointer), 20);
    EXPECT_TRUE(kept.at("/distributedTrainingExpectation/expectedTrainingTime"_json_pointer).is_number_integer());
    EXPECT_EQ(kept.at("/fLRequirement/fLClientSelectionCriteria/0/uniformlyDistributedTrainingData"_json_pointer),
              false);
}

TEST(Created, accepts_what_the_standard_allows) {
    for (const Json& attributes : {
             with("aIMLInferenceName", "SLS_ANALYSIS_E2E_LATENCY_ANALYSIS"),
             with("aIMLInferenceName", "muster:ue-delay"),
             with("candidateTrainingDataSource", {"a", "b"}),
             with("candidateTrainingDataSource", Json::array()),
             with("trainingDataQualityScore", 100),
             with("trainingDataQualityScore", nullptr),
             with("mLModelRef", "SubNetwork=1,MLModelRepository=1,MLModel=m"),
             with("performanceRequirements", Json::parse(R"([{"inferenceOutputName": "delay_ms"}])")),
             with("distributedTrainingExpectation",
                  Json::parse(R"({"suggestedTrainingNodeList": ["SubNetwork=1,ManagedElement=gnb-1"]})")),
             with("clusteringInfo", Json::parse(R"([{"taskType": "t", "allowedClusterTrainingTime":
                  {"startTime": "2026-11-22T10:58:03.120Z", "endTime": "2026-11-22T10:58:03+01:00"}}])")),
             with("rLRequirement", Json::parse(R"({"rLEnvironmentScope": [{"areaScope": {"geoPolygon":
                  [{"latitude": 1, "longitude": 2.5}]}}], "rLEnvironmentType": ["REAL_NETWORK_ENVIRONMENTS"]})")),
         }) {
        Problems problems;
        static_cast<void>(created(request_row(), attributes, problems));
        EXPECT_TRUE(problems.empty()) << attributes << all_of(problems);
    }
}

TEST(Created, names_each_problem_with_its_place) {
    struct Case {
        Json attributes;
        std::string where;
        std::string message;
    };
    const auto requirement = [](const char* text) {
        return with("performanceRequirements", Json::array({Json::parse(text)}));
    };
    const std::vector<Case> bad{
        {Json::array(), "/attributes", "expected object, got array"},
        {nullptr, "/attributes", "expected object, got null"},
        {with("performanceRequirement", 1), "/attributes/performanceRequirement", "\"performanceRequirements\"?"},
        {with("a/b~c", 1), "/attributes/a~1b~0c", "has no attribute"},
        {Json{{"mLTrainingType", "FINE_TUNING"}}, "/attributes/trainingRequestSource", "needs trainingRequestSource"},
        {with("trainingRequestSource", ""), "/attributes/trainingRequestSource", "must not be empty"},
        {with("trainingRequestSource", nullptr), "/attributes/trainingRequestSource", "needs"},
        {with("mLTrainingType", "INITIAL"), "/attributes/mLTrainingType", "INITIAL_TRAINING"},
        {with("mLTrainingType", 1), "/attributes/mLTrainingType", "expected enumeration value, got number 1"},
        {with("mLTrainingType", {"FINE_TUNING"}), "/attributes/mLTrainingType", "got array"},
        {with("cancelRequest", "false"), "/attributes/cancelRequest", "expected boolean, got string \"false\""},
        {with("cancelRequest", 0), "/attributes/cancelRequest", "expected boolean, got number 0"},
        {with("trainingDataQualityScore", 101), "/attributes/trainingDataQualityScore", "expected 0 to 100, got 101"},
        {with("trainingDataQualityScore", -0.5), "/attributes/trainingDataQualityScore", "0 to 100"},
        {with("trainingDataQualityScore", "9"), "/attributes/trainingDataQualityScore", "expected number"},
        {with("candidateTrainingDataSource", "a"),
         "/attributes/candidateTrainingDataSource",
         "expected array of string"},
        {with("candidateTrainingDataSource", {"a", 1}), "/attributes/candidateTrainingDataSource/1", "expected string"},
        {with("candidateTrainingDataSource", {"a", "b", "a"}), "/attributes/candidateTrainingDataSource/2", "item 0"},
        {with("candidateTrainingDataSource", Json(list_items_max + 1, 1)),
         "/attributes/candidateTrainingDataSource",
         "items, got 4097"},
        {with("mLModelRef", "MLModel"), "/attributes/mLModelRef", "Class=id"},
        {requirement(R"({"performanceScore": "3"})"),
         "/attributes/performanceRequirements/0/performanceScore",
         "number"},
        {requirement(R"({"score": 3})"), "/attributes/performanceRequirements/0/score", "has no attribute"},
        {requirement("3"), "/attributes/performanceRequirements/0", "expected object"},
        {with("performanceRequirements", Json::parse(R"([{"performanceScore": 3}, {"performanceScore": 3.0}])")),
         "/attributes/performanceRequirements/1",
         "item 0"},
        {with("distributedTrainingExpectation", Json{{"expectedTrainingTime", 1.5}}),
         "/attributes/distributedTrainingExpectation/expectedTrainingTime",
         "expected integer, got number 1.5"},
        {with("distributedTrainingExpectation", Json{{"expectedTrainingTime", 1e300}}),
         "/attributes/distributedTrainingExpectation/expectedTrainingTime",
         "expected integer"},
        {with("distributedTrainingExpectation", Json{{"expectedTrainingTime", 18446744073709551615U}}),
         "/attributes/distributedTrainingExpectation/expectedTrainingTime",
         "expected integer"},
        {with("distributedTrainingExpectation", Json{{"dataSplit", true}}),
         "/attributes/distributedTrainingExpectation/dataSplit",
         "distributedTrainingExpectation has no attribute"},
        {with("fLRequirement", Json::parse(R"({"fLClientSelectionCriteria": []})")),
         "/attributes/fLRequirement/fLClientSelectionCriteria",
         "got 0"},
        {with("fLRequirement", Json::parse(R"({"fLClientSelectionCriteria": [{"minimumAvailableDataSamples": 1}]})")),
         "/attributes/fLRequirement/fLClientSelectionCriteria/0/minimumAvailableTimeDuration",
         "needs"},
        {with("clusteringInfo",
              Json::parse(R"([{"taskType": "t", "allowedClusterTrainingTime": {"startTime": "now"}}])")),
         "/attributes/clusteringInfo/0/allowedClusterTrainingTime/startTime",
         "expected date-time"},
    };
    for (const Case& wrong : bad) {
        Problems problems;
        static_cast<void>(created(request_row(), wrong.attributes, problems));
        ASSERT_EQ(problems.size(), 1U) << wrong.where << all_of(problems);
        EXPECT_EQ(problems[0].where, wrong.where) << problems[0].text();
        EXPECT_NE(problems[0].text().find(wrong.message), std::string::npos) << problems[0].text();
    }
}

TEST(Created, lists_all_problems_at_once_up_to_a_limit) {
    Problems problems;
    static_cast<void>(created(request_row(), Json{{"x", 1}, {"cancelRequest", 2}}, problems));
    EXPECT_EQ(problems.size(), 4U) << all_of(problems);
    Problems many;
    static_cast<void>(created(request_row(), with("candidateTrainingDataSource", Json(1000, 1)), many));
    EXPECT_EQ(many.size(), problems_max);
}

TEST(Created, keeps_its_messages_short) {
    std::string name;
    for (int i = 0; i < 100'000; ++i) {
        name += "é";
    }
    Problems problems;
    static_cast<void>(created(request_row(), with(name, name), problems));
    static_cast<void>(created(request_row(), with("mLTrainingType", name), problems));
    static_cast<void>(created(request_row(), with("trainingDataQualityScore", name), problems));
    static_cast<void>(created(request_row(), with("mLModelRef", name), problems));
    ASSERT_EQ(problems.size(), 4U);
    for (const Error& problem : problems) {
        EXPECT_LT(problem.message.size(), 300U);
        EXPECT_LT(problem.where.size(), 300U);
        EXPECT_NO_THROW(static_cast<void>(Json(problem.text()).dump()));
    }
}

TEST(Replaced, accepts_what_was_read) {
    Problems problems;
    const Json current = created(request_row(), with("aIMLInferenceName", "x"), problems);
    EXPECT_EQ(replaced(request_row(), current, current, problems), current);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
}

TEST(Replaced, drops_absent_values_to_their_default_and_keeps_fixed_ones) {
    Problems problems;
    Json current = created(request_row(), with("aIMLInferenceName", "x"), problems);
    current["requestStatus"] = "IN_PROGRESS";
    current["suspendRequest"] = true;
    current["trainingDataQualityScore"] = 7;
    const Json kept = replaced(request_row(), current, minimal(), problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    EXPECT_EQ(kept.at("requestStatus"), "IN_PROGRESS");
    EXPECT_EQ(kept.at("aIMLInferenceName"), "x");
    EXPECT_EQ(kept.at("suspendRequest"), false);
    EXPECT_FALSE(kept.contains("trainingDataQualityScore"));
}

TEST(Replaced, refuses_changed_read_only_and_invariant_values) {
    Problems problems;
    const Json current = created(request_row(), with("aIMLInferenceName", "x"), problems);
    Json wanted = current;
    wanted["requestStatus"] = "FINISHED";
    wanted["aIMLInferenceName"] = "y";
    wanted["mLModelRef"] = "SubNetwork=1,MLModelRepository=1,MLModel=m";
    const Json kept = replaced(request_row(), current, wanted, problems);
    ASSERT_EQ(problems.size(), 3U) << all_of(problems);
    EXPECT_EQ(problems[0].text(),
              "/attributes/aIMLInferenceName: aIMLInferenceName can be given at creation only and cannot be changed");
    EXPECT_EQ(problems[1].text(), "/attributes/requestStatus: requestStatus is read-only and cannot be changed");
    EXPECT_EQ(problems[2].where, "/attributes/mLModelRef");
    EXPECT_EQ(kept, current);
}

TEST(Replaced, asks_for_required_values_again) {
    Problems problems;
    const Json current = created(request_row(), minimal(), problems);
    static_cast<void>(replaced(request_row(), current, Json::object(), problems));
    EXPECT_EQ(problems.size(), 2U) << all_of(problems);
}

TEST(Merged, changes_only_what_is_named) {
    Problems problems;
    const Json current = created(
        request_row(),
        with("distributedTrainingExpectation", Json{{"expectedTrainingTime", 20}, {"dataSplitIndication", true}}),
        problems);
    const Json kept = merged(request_row(),
                             current,
                             Json::parse(R"({"cancelRequest": true, "requestStatus": "NOT_STARTED",
                                 "distributedTrainingExpectation": {"expectedTrainingTime": 30}})"),
                             problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    Json expected = current;
    expected["cancelRequest"] = true;
    expected["distributedTrainingExpectation"]["expectedTrainingTime"] = 30;
    EXPECT_EQ(kept, expected);
}

TEST(Merged, removes_with_null_and_falls_back_to_the_default) {
    Problems problems;
    Json current = created(request_row(), with("trainingDataQualityScore", 5), problems);
    current["suspendRequest"] = true;
    const Json kept =
        merged(request_row(),
               current,
               Json{{"trainingDataQualityScore", nullptr}, {"suspendRequest", nullptr}, {"mLModelRef", nullptr}},
               problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    EXPECT_FALSE(kept.contains("trainingDataQualityScore"));
    EXPECT_EQ(kept.at("suspendRequest"), false);
    Problems missing;
    static_cast<void>(merged(request_row(), current, Json{{"trainingRequestSource", nullptr}}, missing));
    EXPECT_EQ(missing.size(), 1U);
}

TEST(Merged, refuses_changes_of_fixed_values_and_unknown_names) {
    Problems problems;
    const Json current = created(request_row(), with("aIMLInferenceName", "x"), problems);
    const Json kept = merged(request_row(),
                             current,
                             Json{{"requestStatus", nullptr}, {"aIMLInferenceName", "y"}, {"nothing", nullptr}},
                             problems);
    EXPECT_EQ(problems.size(), 3U) << all_of(problems);
    EXPECT_EQ(kept, current);
    Problems shape;
    static_cast<void>(merged(request_row(), current, Json::array(), shape));
    EXPECT_EQ(shape.size(), 1U);
}

TEST(Merged, lets_a_consumer_steer_a_process) {
    const ClassRow& row = row_of("MLTrainingProcess");
    const Json current =
        Json::parse(R"({"priority": 10, "progressStatus": {"status": "RUNNING", "progressPercentage": 1},
        "cancelProcess": false, "suspendProcess": false})");
    Problems problems;
    EXPECT_EQ(merged(row, current, Json{{"priority", 5}}, problems).at("priority"), 5);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    static_cast<void>(merged(row, current, Json{{"priority", 70000}}, problems));
    static_cast<void>(merged(row, current, Json::parse(R"({"progressStatus": {"progressPercentage": 2}})"), problems));
    ASSERT_EQ(problems.size(), 2U);
    EXPECT_EQ(problems[1].where, "/attributes/progressStatus");
}

TEST(CheckTypes, asks_for_nothing_that_is_absent) {
    Problems problems;
    check_types(row_of("MLTrainingReport"), Json::object(), problems);
    check_types(row_of("MLTrainingFunction"),
                Json::parse(R"({"supportedLearningTechnology": {"supportedFLRole": ["FL_CLIENT"]}})"),
                problems);
    EXPECT_TRUE(problems.empty()) << all_of(problems);
    check_types(row_of("MLTrainingProcess"), Json{{"mLModelRef", 1}, {"agreement", {}}}, problems);
    EXPECT_EQ(problems.size(), 2U);
}

TEST(VsDataContainer, keeps_its_type_and_takes_any_data) {
    const ClassRow& row = row_of("VsDataContainer");
    Problems problems;
    const Json kept =
        created(row, Json::parse(R"({"vsDataType": "MusterOptions", "vsData": {"a": [null]}})"), problems);
    EXPECT_EQ(kept.at("vsDataType"), "MusterOptions");
    EXPECT_EQ(created(row, Json::parse(R"({"vsData": null})"), problems), (Json{{"vsData", nullptr}}));
    EXPECT_TRUE(problems.empty()) << all_of(problems);
}

/// Makes a value of the row's type, for the round trip below.
Json example(const Attribute& row) {
    const auto single = [&row]() -> Json {
        switch (row.type) {
        case AttributeType::string:
            return "text";
        case AttributeType::integer:
            return static_cast<std::int64_t>(row.minimum.value_or(3));
        case AttributeType::real:
            return row.minimum.value_or(2.5);
        case AttributeType::boolean:
            return true;
        case AttributeType::dn:
            return "SubNetwork=1,MLModelRepository=1,MLModel=m";
        case AttributeType::date_time:
            return "2026-02-28T23:59:60.5-05:30";
        case AttributeType::enumeration:
            return row.values.back();
        case AttributeType::structure: {
            Json object = Json::object();
            for (const Attribute& member : row.members) {
                object[std::string{member.name}] = example(member);
            }
            return object;
        }
        case AttributeType::map:
        case AttributeType::any:
            return Json{{"anything", {1, nullptr}}};
        }
        return nullptr;
    };
    return row.list ? Json::array({single()}) : single();
}

TEST(EveryClass, keeps_a_full_object_through_text_create_replace_and_merge) {
    for (const ClassRow& row : classes()) {
        Json full = Json::object();
        for (const Attribute& attribute : row.attributes) {
            full[std::string{attribute.name}] = example(attribute);
        }
        Problems problems;
        check_types(row, full, problems);
        const Json read_back = parse_json(full.dump()).value();
        EXPECT_EQ(read_back, full);
        Json kept = created(row, full, problems);
        for (const Attribute& attribute : row.attributes) {
            const std::string name{attribute.name};
            if (attribute.writable) {
                EXPECT_EQ(kept.at(name), full.at(name)) << row.name << "." << name;
            } else {
                kept[name] = full.at(name);
            }
        }
        EXPECT_EQ(replaced(row, kept, read_back, problems), full) << row.name;
        EXPECT_EQ(merged(row, full, full, problems), full) << row.name;
        EXPECT_EQ(merged(row, full, Json::object(), problems), full) << row.name;
        EXPECT_TRUE(problems.empty()) << row.name << all_of(problems);
    }
}

TEST(EveryClass, refuses_each_attribute_of_a_wrong_type) {
    for (const ClassRow& row : classes()) {
        for (const Attribute& attribute : row.attributes) {
            if (attribute.type == AttributeType::any && !attribute.list) {
                continue;
            }
            Json wrong = Json{{"what", "ever"}};
            if (!attribute.list && attribute.type == AttributeType::structure) {
                wrong = "text";
            }
            Problems problems;
            check_types(row, Json{{std::string{attribute.name}, wrong}}, problems);
            ASSERT_EQ(problems.size(), 1U) << row.name << "." << attribute.name;
            EXPECT_EQ(problems[0].where, "/attributes/" + std::string{attribute.name});
        }
    }
}

TEST(DateTime, is_that_of_rfc_3339) {
    for (const char* good : {"2026-11-22T10:58:03Z", "2024-02-29t00:00:00.000001z", "2000-02-29T23:59:60+14:00"}) {
        EXPECT_TRUE(is_date_time(good)) << good;
    }
    for (const char* bad : {"",
                            "2026-11-22",
                            "2026-11-22 10:58:03Z",
                            "2026-11-22T10:58:03",
                            "2026-13-01T00:00:00Z",
                            "2023-02-29T00:00:00Z",
                            "1900-02-29T00:00:00Z",
                            "2026-11-31T00:00:00Z",
                            "2026-11-22T24:00:00Z",
                            "2026-11-22T10:60:03Z",
                            "2026-11-22T10:58:61Z",
                            "2026-11-22T10:58:03.Z",
                            "2026-11-22T10:58:03.5",
                            "2026-11-22T10:58:03+1:00",
                            "2026-11-22T10:58:03Z ",
                            "+026-11-22T10:58:03Z"}) {
        EXPECT_FALSE(is_date_time(bad)) << bad;
    }
}

} // namespace
} // namespace muster::nrm
