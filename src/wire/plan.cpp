#include "wire/plan.h"

#include "model/state_shares.h"
#include "wire/read_struct.h"

#include <string>

namespace muster::wire {

nlohmann::json to_json(const Plan& plan) {
    return nlohmann::json(plan);
}

Result<Plan> plan_from_json(const nlohmann::json& json) {
    auto plan = read_struct<Plan>(json, "plan");
    if (plan && plan->chosen >= plan->candidates.size()) {
        return Error{ErrorCode::invalid_argument, "plan: chosen is not one of the candidates"};
    }
    for (std::size_t i = 0; plan && i < plan->candidates.size(); ++i) {
        const PlanCandidate& candidate = plan->candidates[i];
        const auto shares = state_shares_of(candidate.members);
        const auto place = "/candidates/" + std::to_string(i) + "/members";
        if (auto checked = check_state_shares(shares); !checked) {
            return Error{ErrorCode::invalid_argument, "plan: " + checked.error().message, place};
        }
        if (state_is_sharded(shares) && !candidate.state_sharded) {
            return Error{ErrorCode::invalid_argument, "plan: parts of a state that is not sharded", place};
        }
    }
    return plan;
}

nlohmann::json to_json(const Calibration& calibration) {
    return nlohmann::json(calibration);
}

Result<Calibration> calibration_from_json(const nlohmann::json& json) {
    return read_struct<Calibration>(json, "calibration");
}

nlohmann::json to_json(const Capacity& capacity) {
    return nlohmann::json(capacity);
}

nlohmann::json to_json(const DataSource& source) {
    return nlohmann::json(source);
}

} // namespace muster::wire
