/// Services: recipes, plans, functions, logs, metrics.
#pragma once

#include "producer/calibrations.h"
#include "producer/desk.h"
#include "producer/job_intake.h"
#include "producer/outbox.h"
#include "producer/recipes.h"
#include "producer/services.h"

#include <string>

namespace muster::producer {

/// Safe from any thread: it reads the tree, the fleet and the store, never the loop's jobs.
class ProducerServices final : public Services {
public:
    /// All outlive it.
    struct Parts {
        Recipes& recipes;
        const Outbox& outbox;
        const JobIntake& intake;
        Desk desk;
    };
    explicit ProducerServices(Parts parts) : parts_{parts} {}

    Result<nlohmann::json> add_recipe(const nlohmann::json& recipe, const std::string& caller) override;
    nlohmann::json list_recipes() override;
    Result<nlohmann::json> plan(const nlohmann::json& attributes, const std::string& caller) override;
    nlohmann::json list_functions() override;
    bool may_fetch(const std::string& dn, const std::string& sha256) override;
    Result<nlohmann::json> log_of(const std::string& request_id) override;
    std::string metrics() override;
    Result<void> ready() override;

private:
    Parts parts_;
};

} // namespace muster::producer
