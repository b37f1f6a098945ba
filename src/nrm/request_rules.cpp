#include "nrm/request_rules.h"

#include "nrm/dn.h"
#include "nrm/tree.h"
#include "nrm/value_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace muster::nrm {
namespace {

void refuse(Problems& problems, const std::string& where, std::string message) {
    add_problem(problems, Error{ErrorCode::invalid_argument, std::move(message), where});
}

bool has(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && !found->is_null() &&
           !(found->is_string() && found->get_ref<const std::string&>().empty()) &&
           !(found->is_array() && found->empty());
}

void need(const Json& attributes, const char* name, const std::string& training_type, Problems& problems) {
    if (!has(attributes, name)) {
        refuse(problems,
               fmt::format("/attributes/{}", name),
               fmt::format("{} is required when mLTrainingType is {}", name, training_type));
    }
}

void check_training_type(const Json& attributes, Problems& problems) {
    const std::string type = attributes.value("mLTrainingType", "");
    if (type == "INITIAL_TRAINING" || type == "FINE_TUNING") {
        need(attributes, "aIMLInferenceName", type, problems);
    } else if (type == "PRE_SPECIALISED_TRAINING") {
        need(attributes, "expectedInferenceScope", type, problems);
    } else if (type == "RE_TRAINING") {
        need(attributes, "mLModelRef", type, problems);
    }
}

void check_reference(const Json& attributes, const char* name, std::string_view class_name, Problems& problems) {
    if (!has(attributes, name)) {
        return;
    }
    const auto dn = Dn::parse(attributes.at(name).get_ref<const std::string&>());
    if (dn && dn->leaf().class_name != class_name) {
        refuse(problems,
               fmt::format("/attributes/{}", name),
               fmt::format("expected the name of an {}, got that of an {}", class_name, dn->leaf().class_name));
    }
}

std::string lower_case(std::string_view text) {
    std::string lower{text};
    std::ranges::transform(
        lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return lower;
}

void check_requirement(const Json& requirement,
                       const std::string& where,
                       std::span<const MetricRule> metrics,
                       Problems& problems) {
    bool complete = true;
    for (const char* name : {"inferenceOutputName", "performanceMetric", "performanceScore"}) {
        if (!has(requirement, name)) {
            refuse(problems, where + "/" + name, fmt::format("a performance requirement needs {}", name));
            complete = false;
        }
    }
    if (!complete) {
        return;
    }
    const auto& name = requirement.at("performanceMetric").get_ref<const std::string&>();
    const auto metric =
        std::ranges::find(metrics, lower_case(name), [](const MetricRule& rule) { return lower_case(rule.name); });
    if (metric == metrics.end()) {
        std::vector<std::string> names;
        for (const MetricRule& rule : metrics) {
            names.emplace_back(rule.name);
        }
        add_problem(problems, not_allowed(where + "/performanceMetric", shortened(name), std::move(names)));
        return;
    }
    const double score = requirement.at("performanceScore").get<double>();
    if (score < 0 || (metric->percent && score > 100)) {
        refuse(problems,
               where + "/performanceScore",
               metric->percent
                   ? fmt::format("{} is in percent, 0 to 100, got {}", metric->name, score)
                   : fmt::format("{} is in the unit of the target, 0 or more, got {}", metric->name, score));
    }
}

} // namespace

void check_request(const Json& attributes, std::span<const MetricRule> metrics, Problems& problems) {
    if (!problems.empty()) {
        return;
    }
    check_training_type(attributes, problems);
    if (has(attributes, "mLKnowledgeName") && has(attributes, "candidateTrainingDataSource")) {
        refuse(problems,
               "/attributes/mLKnowledgeName",
               "mLKnowledgeName and candidateTrainingDataSource exclude each other");
    }
    if (has(attributes, "distributedTrainingExpectation")) {
        const Json& expectation = attributes.at("distributedTrainingExpectation");
        if (has(expectation, "expectedTrainingTime") &&
            expectation.at("expectedTrainingTime").get<std::int64_t>() <= 0) {
            refuse(problems,
                   "/attributes/distributedTrainingExpectation/expectedTrainingTime",
                   fmt::format("expected minutes above 0, got {}", expectation.at("expectedTrainingTime").dump()));
        }
    }
    check_reference(attributes, "mLModelRef", "MLModel", problems);
    check_reference(attributes, "mLModelCoordinationGroupRef", "MLModelCoordinationGroup", problems);
    if (has(attributes, "performanceRequirements")) {
        const Json& requirements = attributes.at("performanceRequirements");
        for (std::size_t i = 0; i < requirements.size(); ++i) {
            check_requirement(
                requirements[i], fmt::format("/attributes/performanceRequirements/{}", i), metrics, problems);
        }
    }
}

void check_subscription(const Json& attributes, Problems& problems) {
    if (!problems.empty()) {
        return;
    }
    const std::string address = attributes.value("notificationRecipientAddress", "");
    constexpr std::string_view scheme = "https://";
    const bool printable = std::ranges::all_of(address, [](char c) { return c > 0x20 && c < 0x7F; });
    if (!address.starts_with(scheme) || address.size() == scheme.size() || !printable) {
        refuse(problems, "/attributes/notificationRecipientAddress", "expected an https URI");
    }
    if (has(attributes, "scope")) {
        if (auto scope = scope_of(attributes.at("scope")); !scope) {
            Error error = std::move(scope).error();
            error.where = "/attributes/scope" + error.where;
            add_problem(problems, std::move(error));
        }
    }
}

} // namespace muster::nrm
