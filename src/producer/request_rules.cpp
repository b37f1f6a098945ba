#include "producer/request_rules.h"

#include "nrm/request_rules.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace muster::producer {
namespace {

using nrm::Json;

constexpr std::string_view attributes_pointer = "/attributes/";

/// Attributes that only make sense for kinds of training that this producer does not do: ignoring them silently would
/// promise what is not done.
constexpr std::array<std::string_view, 8> unsupported{"rLRequirement",
                                                      "fLRequirement",
                                                      "trainingDataStatisticalProperties",
                                                      "clusteringInfo",
                                                      "mLKnowledgeName",
                                                      "expectedInferenceScope",
                                                      "mLModelRef",
                                                      "mLModelCoordinationGroupRef"};

Error problem(std::string_view attribute, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), std::string{attributes_pointer} + std::string{attribute}};
}

const char* name_of(TaskKind task) {
    switch (task) {
    case TaskKind::regression:
        return "regression";
    case TaskKind::binary:
    case TaskKind::multiclass:
        return "classification";
    case TaskKind::language:
        return "language model";
    }
    return "";
}

/// What nrm's rules cannot know: that output and metric are those of the recipe.
void check_requirement(const Json& item, std::size_t index, const Recipe& recipe, nrm::Problems& problems) {
    const std::string pointer = fmt::format("performanceRequirements/{}/", index);
    const std::string output = item.value("inferenceOutputName", "");
    if (output != recipe.data.target) {
        problems.push_back(not_allowed(
            fmt::format("{}{}inferenceOutputName", attributes_pointer, pointer), output, {recipe.data.target}));
    }
    const auto metric = metric_of(item.value("performanceMetric", ""));
    if (metric && !metric->fits(task_of(recipe))) {
        problems.push_back(problem(pointer + "performanceMetric",
                                   fmt::format("{} does not fit the recipe \"{}\", which trains a {}",
                                               metric->name,
                                               recipe.name,
                                               name_of(task_of(recipe)))));
    }
    if (metric && metric->name == "AUC" && recipe.data.layout == LayoutKind::pinned) {
        problems.push_back(
            problem(pointer + "performanceMetric",
                    "AUC is made from the order of all rows, but those of the recipe stay at their sites"));
    }
}

std::vector<nrm::MetricRule> metric_rules() {
    std::vector<nrm::MetricRule> rules;
    for (const Metric& metric : metrics()) {
        rules.push_back({metric.name, metric.percent});
    }
    return rules;
}

bool flag(const Json& attributes, const char* name) {
    return attributes.contains(name) && attributes[name] == true;
}

Refusal conflict(std::string_view attribute, std::string reason) {
    Refusal refusal{ErrorCode::conflict, reason};
    refusal.problems.push_back(
        {ErrorCode::conflict, std::move(reason), std::string{attributes_pointer} + std::string{attribute}});
    return refusal;
}

/// Names of attributes that differ, but for `allowed` ones.
std::optional<std::string>
other_change(const Json& before, const Json& after, const std::vector<std::string_view>& allowed) {
    const auto differs = [&](const std::string& name) {
        return before.value(name, Json{}) != after.value(name, Json{}) &&
               std::ranges::find(allowed, name) == allowed.end();
    };
    for (const Json* side : {&before, &after}) {
        for (const auto& [name, value] : side->items()) {
            if (differs(name)) {
                return name;
            }
        }
    }
    return std::nullopt;
}

/// Says whether `address` is `start` or goes on from it at a '/': "https://a.example" does not allow
/// "https://a.example.org".
bool begins_at(std::string_view address, std::string_view start) {
    return !start.empty() && address.starts_with(start) &&
           (address.size() == start.size() || start.back() == '/' || address[start.size()] == '/');
}

} // namespace

Wish wish_of(const Json& attributes) {
    Wish wish{attributes.value("trainingRequestSource", ""), attributes.value("aIMLInferenceName", "")};
    for (const Json& item : attributes.value("performanceRequirements", Json::array())) {
        wish.requirements.push_back({item.value("inferenceOutputName", ""),
                                     item.value("performanceMetric", ""),
                                     item.value("performanceScore", 0.0)});
    }
    wish.sources = attributes.value("candidateTrainingDataSource", std::vector<std::string>{});
    if (attributes.contains("distributedTrainingExpectation")) {
        const Json& expectation = attributes["distributedTrainingExpectation"];
        constexpr std::int64_t seconds_per_minute = 60;
        wish.expected_seconds = expectation.value("expectedTrainingTime", std::int64_t{0}) * seconds_per_minute;
        wish.split_allowed = expectation.value("dataSplitIndication", false);
        wish.suggested = expectation.value("suggestedTrainingNodeList", std::vector<std::string>{});
    }
    return wish;
}

std::optional<Recipe> check_request(const Json& attributes, const Recipes& recipes, nrm::Problems& problems) {
    static const std::vector<nrm::MetricRule> rules = metric_rules();
    nrm::check_request(attributes, rules, problems);
    for (const std::string_view name : unsupported) {
        if (attributes.contains(name)) {
            problems.push_back(problem(name, "not supported by this producer; leave it out"));
        }
    }
    if (const std::string type = attributes.value("mLTrainingType", ""); type != "INITIAL_TRAINING") {
        Error error = problem("mLTrainingType", fmt::format("\"{}\" is not supported by this producer", type));
        error.allowed = {"INITIAL_TRAINING"};
        problems.push_back(std::move(error));
    }
    if (flag(attributes, "cancelRequest")) {
        problems.push_back(problem("cancelRequest", "a new request cannot be cancelled; leave it out"));
    }
    if (!attributes.contains("aIMLInferenceName")) {
        return std::nullopt; // named by nrm's rules
    }
    auto recipe = recipes.resolve(attributes["aIMLInferenceName"].get<std::string>());
    if (!recipe) {
        problems.push_back(std::move(recipe).error());
        return std::nullopt;
    }
    std::size_t index = 0;
    for (const Json& item : attributes.value("performanceRequirements", Json::array())) {
        check_requirement(item, index++, *recipe, problems);
    }
    if (const auto sources = attributes.value("candidateTrainingDataSource", std::vector<std::string>{});
        !sources.empty()) {
        recipe->data.source = sources.front();
        recipe->digest = wire::digest_of(*recipe);
    }
    return *std::move(recipe);
}

std::optional<Refusal> change_request(const Json& before, Json& after, bool has_process, bool running) {
    const std::string status = before.value("requestStatus", "NOT_STARTED");
    const bool over = status == "FINISHED" || status == "CANCELLED";
    const bool cancels = flag(after, "cancelRequest") && !flag(before, "cancelRequest");
    const bool suspends = flag(after, "suspendRequest") && !flag(before, "suspendRequest");
    const bool resumes = !flag(after, "suspendRequest") && flag(before, "suspendRequest");
    if (has_process || over) {
        static const std::vector<std::string_view> still_allowed{
            "cancelRequest", "suspendRequest", "trainingDataQualityScore"};
        if (const auto name = other_change(before, after, still_allowed)) {
            return conflict(*name,
                            fmt::format("evaluation of this request has begun (it is {}); only cancelRequest, "
                                        "suspendRequest and trainingDataQualityScore can still be changed",
                                        status));
        }
    }
    if (over && (cancels || suspends)) {
        return conflict(cancels ? "cancelRequest" : "suspendRequest", "the request is already " + status);
    }
    if (cancels) {
        after["requestStatus"] = "CANCELLING";
    } else if (flag(before, "cancelRequest") && !flag(after, "cancelRequest")) {
        after["cancelRequest"] = true; // writing FALSE has no effect (TS 28.105 7.5.1)
    } else if (suspends) {
        if (running) {
            return conflict("suspendRequest",
                            "suspending a training that runs is not supported yet; cancel it, or let it finish");
        }
        if (status == "CANCELLING") {
            return conflict("suspendRequest", "the request is being cancelled");
        }
        after["requestStatus"] = "SUSPENDED";
    } else if (resumes && status == "SUSPENDED") {
        after["requestStatus"] = has_process ? "IN_PROGRESS" : "NOT_STARTED";
    }
    return std::nullopt;
}

std::optional<Refusal> change_process(const Json& before, Json& after) {
    const Json progress = before.value("progressStatus", Json::object());
    const std::string status = progress.value("status", "NOT_STARTED");
    const bool over = status == "FINISHED" || status == "CANCELLED";
    const bool cancels = flag(after, "cancelProcess") && !flag(before, "cancelProcess");
    const bool suspends = flag(after, "suspendProcess") && !flag(before, "suspendProcess");
    if (over && (cancels || suspends)) {
        return conflict(cancels ? "cancelProcess" : "suspendProcess", "the process is already " + status);
    }
    if (cancels) {
        after["progressStatus"]["status"] = "CANCELLING";
    } else if (flag(before, "cancelProcess") && !flag(after, "cancelProcess")) {
        after["cancelProcess"] = true;
    } else if (suspends) {
        if (status == "RUNNING") {
            return conflict("suspendProcess",
                            "suspending a training that runs is not supported yet; cancel it, or let it finish");
        }
        if (status == "CANCELLING") {
            return conflict("suspendProcess", "the process is being cancelled");
        }
        after["progressStatus"]["status"] = "SUSPENDED";
    } else if (!flag(after, "suspendProcess") && flag(before, "suspendProcess") && status == "SUSPENDED") {
        after["progressStatus"]["status"] = "NOT_STARTED";
    }
    return std::nullopt;
}

void check_subscription(const Json& attributes, const std::vector<std::string>& allowed, nrm::Problems& problems) {
    nrm::check_subscription(attributes, problems);
    const std::string recipient = attributes.value("notificationRecipientAddress", "");
    if (std::ranges::none_of(allowed, [&](const std::string& start) { return begins_at(recipient, start); })) {
        problems.push_back(
            problem("notificationRecipientAddress", "this recipient is not on the operator's list of allowed ones"));
    }
    static const std::vector<std::string> types{
        "notifyMOICreation", "notifyMOIDeletion", "notifyMOIAttributeValueChanges"};
    std::size_t index = 0;
    for (const std::string& type : attributes.value("notificationTypes", std::vector<std::string>{})) {
        if (std::ranges::find(types, type) == types.end()) {
            problems.push_back(
                not_allowed(fmt::format("{}notificationTypes/{}", attributes_pointer, index), type, types));
        }
        ++index;
    }
    if (attributes.contains("notificationFilter")) {
        problems.push_back(problem("notificationFilter", "filters are not supported by this producer; leave it out"));
    }
}

} // namespace muster::producer
