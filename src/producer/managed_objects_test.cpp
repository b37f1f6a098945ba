#include "nrm/class_table.h"
#include "producer/test_fleet.h"

namespace muster::producer::testing {
namespace {

using nlohmann::json;

TEST(ManagedObjects, refuses_bad_requests_naming_the_place) {
    struct Case {
        const char* what;
        json patch; ///< RFC 7396 on the good request
        ErrorCode code;
        const char* where;
    };
    const auto invalid = ErrorCode::invalid_argument;
    const std::vector<Case> cases{
        {"unknown attribute", {{"performanceRequirement", 1}}, invalid, "/attributes/performanceRequirement"},
        {"wrong type", {{"trainingDataQualityScore", "high"}}, invalid, "/attributes/trainingDataQualityScore"},
        {"missing required", {{"trainingRequestSource", nullptr}}, invalid, "/attributes/trainingRequestSource"},
        {"no inference name", {{"aIMLInferenceName", nullptr}}, invalid, "/attributes/aIMLInferenceName"},
        {"unknown recipe", {{"aIMLInferenceName", "muster:ue-dela"}}, invalid, "/attributes/aIMLInferenceName"},
        {"unsupported training type", {{"mLTrainingType", "FINE_TUNING"}}, invalid, "/attributes/mLTrainingType"},
        {"federated learning", {{"fLRequirement", json::object()}}, invalid, "/attributes/fLRequirement"},
        {"cancelled at birth", {{"cancelRequest", true}}, invalid, "/attributes/cancelRequest"},
        {"unknown metric",
         {{"performanceRequirements",
           {{{"inferenceOutputName", "delay_ms"}, {"performanceMetric", "MEA"}, {"performanceScore", 3}}}}},
         invalid,
         "/attributes/performanceRequirements/0/performanceMetric"},
        {"metric of another task",
         {{"performanceRequirements",
           {{{"inferenceOutputName", "delay_ms"}, {"performanceMetric", "F1"}, {"performanceScore", 3}}}}},
         invalid,
         "/attributes/performanceRequirements/0/performanceMetric"},
        {"unknown output",
         {{"performanceRequirements",
           {{{"inferenceOutputName", "delay"}, {"performanceMetric", "MAE"}, {"performanceScore", 3}}}}},
         invalid,
         "/attributes/performanceRequirements/0/inferenceOutputName"},
        {"no time",
         {{"distributedTrainingExpectation", {{"expectedTrainingTime", 0}}}},
         invalid,
         "/attributes/distributedTrainingExpectation/expectedTrainingTime"},
    };
    ThreeFunctions fleet;
    for (const Case& one : cases) {
        json attributes = TestFleet::request();
        attributes.merge_patch(one.patch);
        const WriteResult result = fleet.submit(attributes);
        ASSERT_FALSE(result.ok) << one.what;
        EXPECT_EQ(result.refusal.code, one.code) << one.what;
        ASSERT_FALSE(result.refusal.problems.empty()) << one.what;
        EXPECT_EQ(result.refusal.problems.at(0).where, one.where) << one.what << ": " << result.refusal.reason;
        fleet.run();
        EXPECT_EQ(fleet.status(), "gone") << one.what;
        EXPECT_TRUE(fleet.store.list("job", "").empty()) << one.what;
    }
}

TEST(ManagedObjects, names_the_nearest_recipe_and_the_candidates_of_an_ambiguous_one) {
    ThreeFunctions fleet;
    json attributes = TestFleet::request();
    attributes["aIMLInferenceName"] = "muster:ue-dela";
    EXPECT_EQ(fleet.submit(attributes).refusal.problems.at(0).nearest, "muster:ue-delay");
    ASSERT_TRUE(fleet.producer->services().add_recipe(TestFleet::recipe("other"), "admin").ok());
    const WriteResult ambiguous = fleet.submit();
    ASSERT_FALSE(ambiguous.ok);
    EXPECT_EQ(ambiguous.refusal.problems.at(0).allowed, (std::vector<std::string>{"muster:other", "muster:ue-delay"}));
    attributes["aIMLInferenceName"] = "muster:ue-delay";
    EXPECT_TRUE(fleet.submit(attributes).ok);
}

TEST(ManagedObjects, refuses_wrong_places_and_bodies) {
    ThreeFunctions fleet;
    ManagedObjects& objects = fleet.producer->objects();
    const json good{{"id", "r1"}, {"objectClass", "MLTrainingRequest"}, {"attributes", TestFleet::request()}};
    const auto put = [&](const char* dn, const json& body) { return objects.put(*nrm::Dn::parse(dn), body, "c"); };
    EXPECT_EQ(put("SubNetwork=1,MLTrainingFunction=no,MLTrainingRequest=r1", good).refusal.code, ErrorCode::not_found);
    EXPECT_EQ(put("SubNetwork=1,MLTrainingRequest=r1", good).refusal.code, ErrorCode::invalid_argument);
    json body = good;
    body["id"] = "r2";
    EXPECT_EQ(fleet.producer->objects().put(TestFleet::dn("MLTrainingRequest"), body, "c").refusal.problems.at(0).where,
              "/id");
    body = good;
    body["MLTrainingProcess"] = json::array();
    EXPECT_FALSE(objects.put(TestFleet::dn("MLTrainingRequest"), body, "c").ok);
    body = {{"id", "p"}, {"objectClass", "MLTrainingProcess"}, {"attributes", json::object()}};
    EXPECT_EQ(objects.put(TestFleet::dn("MLTrainingProcess", "p"), body, "c").refusal.code,
              ErrorCode::permission_denied);
    EXPECT_EQ(objects.remove(*nrm::Dn::parse("SubNetwork=1,MLTrainingFunction=mlt"), "c").refusal.code,
              ErrorCode::permission_denied);
    EXPECT_EQ(objects.merge_patch(TestFleet::dn("MLTrainingRequest", "no"), json::object(), "c").refusal.code,
              ErrorCode::not_found);
}

TEST(ManagedObjects, post_assigns_an_id) {
    ThreeFunctions fleet;
    const WriteResult made = fleet.producer->objects().post(
        *nrm::Dn::parse("SubNetwork=1,MLTrainingFunction=mlt"),
        {{"id", nullptr}, {"objectClass", "MLTrainingRequest"}, {"attributes", TestFleet::request()}},
        "c");
    ASSERT_TRUE(made.ok) << made.refusal.reason;
    EXPECT_EQ(made.answer.effect, Effect::created);
    EXPECT_TRUE(nrm::Dn::parse(made.answer.dn).ok());
    EXPECT_EQ(made.answer.body.at("attributes").at("requestStatus"), "NOT_STARTED");
}

TEST(ManagedObjects, get_edit_put_works_and_changed_read_only_values_do_not) {
    ThreeFunctions fleet;
    ASSERT_TRUE(fleet.submit().ok);
    json attributes = fleet.attributes(TestFleet::dn("MLTrainingRequest"));
    EXPECT_EQ(fleet.submit(attributes).answer.effect, Effect::unchanged);
    attributes["requestStatus"] = "FINISHED";
    EXPECT_EQ(fleet.submit(attributes).refusal.problems.at(0).where, "/attributes/requestStatus");
    const WriteResult invariant =
        fleet.patch(TestFleet::dn("MLTrainingRequest"), {{"aIMLInferenceName", "muster:ue-delay"}});
    EXPECT_EQ(invariant.refusal.problems.at(0).where, "/attributes/aIMLInferenceName");
}

TEST(ManagedObjects, a_request_is_fixed_once_evaluation_has_begun_and_deleted_only_after_its_end) {
    ThreeFunctions fleet;
    fleet.functions.at(TestFleet::name(2)).on_commit = Reply::silent;
    fleet.train();
    const nrm::Dn request = TestFleet::dn("MLTrainingRequest");
    EXPECT_EQ(fleet.patch(request, {{"trainingRequestSource", "other"}}).refusal.code, ErrorCode::conflict);
    EXPECT_TRUE(fleet.patch(request, {{"trainingDataQualityScore", 90}}).ok);
    EXPECT_EQ(fleet.producer->objects().remove(request, "c").refusal.code, ErrorCode::conflict);
    ASSERT_TRUE(fleet.patch(request, {{"cancelRequest", true}}).ok);
    fleet.run();
    EXPECT_EQ(fleet.patch(request, {{"suspendRequest", true}}).refusal.code, ErrorCode::conflict);
    EXPECT_TRUE(fleet.producer->objects().remove(request, "c").ok);
    EXPECT_EQ(fleet.status(), "gone");
    EXPECT_EQ(fleet.submit().refusal.code, ErrorCode::conflict);
}

TEST(ManagedObjects, a_request_deleted_before_it_begins_never_trains) {
    ThreeFunctions fleet;
    ASSERT_TRUE(fleet.submit().ok);
    ASSERT_TRUE(fleet.producer->objects().remove(TestFleet::dn("MLTrainingRequest"), "c").ok);
    fleet.run();
    EXPECT_EQ(fleet.times_trained(), 0U);
    EXPECT_EQ(fleet.submit().refusal.code, ErrorCode::conflict);
}

TEST(ManagedObjects, priority_and_termination_conditions_of_a_process_may_be_written) {
    ThreeFunctions fleet;
    fleet.train();
    const nrm::Dn process = TestFleet::dn("MLTrainingProcess");
    EXPECT_TRUE(fleet.patch(process, {{"priority", 5}, {"terminationConditions", "never"}}).ok);
    EXPECT_FALSE(fleet.patch(process, {{"priority", 65'536}}).ok);
    EXPECT_FALSE(fleet.patch(process, {{"progressStatus", {{"status", "RUNNING"}}}}).ok);
    EXPECT_EQ(fleet.patch(process, {{"cancelProcess", true}}).refusal.code, ErrorCode::conflict) << "it is finished";
}

TEST(ManagedObjects, a_model_can_be_deleted_with_its_file) {
    ThreeFunctions fleet;
    fleet.train();
    const auto model =
        nrm::Dn::parse(fleet.attributes(TestFleet::dn("MLTrainingProcess")).at("mLModelRef").get<std::string>());
    EXPECT_EQ(fleet.artefacts.blobs.size(), 1U);
    ASSERT_TRUE(fleet.producer->objects().remove(*model, "c").ok);
    EXPECT_TRUE(fleet.artefacts.blobs.empty());
    EXPECT_TRUE(fleet.attributes(*model).empty());
}

TEST(ManagedObjects, what_the_producer_writes_fits_the_class_tables) {
    ThreeFunctions fleet;
    fleet.train();
    const auto all =
        fleet.producer->objects().read(*nrm::Dn::parse("SubNetwork=1"), {.type = nrm::ScopeType::base_all});
    EXPECT_GE(all->size(), 16U);
    for (const nrm::Object& object : *all) {
        nrm::Problems problems;
        nrm::check_types(**nrm::class_of(object.dn.leaf().class_name), object.attributes, problems);
        EXPECT_TRUE(problems.empty()) << object.dn.text() << ": " << problems.front().text();
    }
}

TEST(Services, recipes_are_immutable_unless_replaced) {
    TestFleet fleet;
    fleet.start();
    Services& services = fleet.producer->services();
    EXPECT_TRUE(services.add_recipe(TestFleet::recipe(), "admin").ok()) << "the same again";
    json changed = TestFleet::recipe();
    changed["epochs"] = 7;
    EXPECT_EQ(services.add_recipe(changed, "admin").error().code, ErrorCode::conflict);
    EXPECT_TRUE(services.add_recipe({{"recipe", changed}, {"replace", true}}, "admin").ok());
    changed["epocs"] = 7;
    EXPECT_EQ(services.add_recipe(changed, "admin").error().code, ErrorCode::invalid_argument);
    fleet.restart();
    EXPECT_EQ(fleet.producer->services().list_recipes().at(0).at("recipe").at("epochs"), 7);
}

TEST(Services, plans_without_training_and_tell_what_is_not_measured) {
    ThreeFunctions fleet;
    auto plan = fleet.producer->services().plan(TestFleet::request(), "c");
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    EXPECT_EQ(plan->at("provisional"), true);
    fleet.train();
    plan = fleet.producer->services().plan(TestFleet::request(), "c");
    ASSERT_TRUE(plan.ok()) << plan.error().text();
    EXPECT_EQ(plan->at("provisional"), false);
    EXPECT_GE(plan->at("candidates").size(), 3U);
    EXPECT_EQ(fleet.times_trained(), 1U);
    EXPECT_FALSE(fleet.producer->services().plan({{"mLTrainingType", "x"}}, "c").ok());
}

TEST(Services, logs_functions_and_metrics) {
    ThreeFunctions fleet;
    fleet.train();
    Services& services = fleet.producer->services();
    const auto log = services.log_of("r1");
    ASSERT_TRUE(log.ok());
    EXPECT_EQ(log->front().at("event"), "submitted by analytics");
    EXPECT_EQ(log->back().at("event"), "finished");
    EXPECT_EQ(services.log_of("r9").error().code, ErrorCode::not_found);
    EXPECT_EQ(services.list_functions().size(), 3U);
    EXPECT_NE(services.metrics().find("muster_requests{status=\"FINISHED\"} 1"), std::string::npos);
    EXPECT_TRUE(services.ready().ok());
    fleet.store.set_down(true);
    EXPECT_FALSE(services.ready().ok());
}

} // namespace
} // namespace muster::producer::testing
