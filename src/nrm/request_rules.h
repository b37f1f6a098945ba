/// What the attributes of a training request must fulfil together. Source: TS 28.105 V19.6.0 7.3a.1.2.2, 7.5.1;
/// docs/conformance.md.
#pragma once

#include "nrm/validate.h"

#include <span>
#include <string_view>

namespace muster::nrm {

/// A metric that performanceRequirements may name.
struct MetricRule {
    std::string_view name;
    bool percent{false}; ///< performanceScore is 0 to 100; otherwise 0 or more, in the unit of the target
};

/// Checks an MLTrainingRequest whose single attributes have passed created(), replaced() or merged():
/// aIMLInferenceName for initial training and fine-tuning, expectedInferenceScope for pre-specialised training,
/// mLModelRef for re-training; mLKnowledgeName without candidateTrainingDataSource; expectedTrainingTime above 0;
/// performance requirements complete, of known metrics (upper or lower case) and in their range; references of the
/// right class. Whether what is named exists is the producer's to check. Does nothing when `problems` is not empty:
/// values of a wrong type mean nothing together.
void check_request(const Json& attributes, std::span<const MetricRule> metrics, Problems& problems);

/// Checks the attributes of an NtfSubscriptionControl: the address is an https URI, the scope is complete and not of a
/// kind that we do not serve (dataNodeSelector). Does nothing when `problems` is not empty.
void check_subscription(const Json& attributes, Problems& problems);

} // namespace muster::nrm
