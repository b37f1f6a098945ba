/// What an MLTrainingRequest may ask for, beyond the types that the class table checks. Source: TS 28.105 7.3a.1.2.2.
#pragma once

#include "model/recipe.h"
#include "model/score.h"
#include "nrm/tree.h"
#include "nrm/validate.h"
#include "producer/management.h"
#include "producer/recipes.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

/// A request's attributes, read.
struct Wish {
    std::string consumer;  ///< trainingRequestSource
    std::string inference; ///< aIMLInferenceName
    std::vector<PerformanceRequirement> requirements{};
    std::vector<std::string> sources{};   ///< candidateTrainingDataSource
    std::int64_t expected_seconds{};      ///< expectedTrainingTime; 0: none
    std::optional<bool> split_allowed{};  ///< dataSplitIndication; absent: no expectation was given
    std::vector<std::string> suggested{}; ///< suggestedTrainingNodeList
};

/// Reads attributes that have passed check_request.
[[nodiscard]] Wish wish_of(const nrm::Json& attributes);

/// Checks a new request; returns the recipe to train, its data source replaced by the first one the consumer offers.
/// `problems` lists what is wrong, each with its JSON pointer.
[[nodiscard]] std::optional<Recipe>
check_request(const nrm::Json& attributes, const Recipes& recipes, nrm::Problems& problems);

/// Checks a change of an existing request and sets requestStatus as it follows: cancelRequest, suspendRequest, resume.
/// `has_process`: evaluation has begun; `running`: members train.
/// Returns a refusal, or nothing.
[[nodiscard]] std::optional<Refusal>
change_request(const nrm::Json& before, nrm::Json& after, bool has_process, bool running);

/// The same for MLTrainingProcess: cancelProcess, suspendProcess.
[[nodiscard]] std::optional<Refusal> change_process(const nrm::Json& before, nrm::Json& after);

/// Checks an NtfSubscriptionControl: an https recipient that starts with one of `allowed`, known types, a scope.
void check_subscription(const nrm::Json& attributes, const std::vector<std::string>& allowed, nrm::Problems& problems);

} // namespace muster::producer
