#include "wire/plan.h"

#include "wire/read_struct.h"

namespace muster::wire {

nlohmann::json to_json(const Plan& plan) {
    return nlohmann::json(plan);
}

Result<Plan> plan_from_json(const nlohmann::json& json) {
    auto plan = read_struct<Plan>(json, "plan");
    if (plan && plan->chosen >= plan->candidates.size()) {
        return Error{ErrorCode::invalid_argument, "plan: chosen is not one of the candidates"};
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
