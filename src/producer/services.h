/// What the producer offers beside managed objects: recipes, plans, functions, logs, metrics, for `rest`.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::producer {

/// Safe from any thread.
class Services {
public:
    virtual ~Services() = default;
    /// Adds a recipe given as canonical-able JSON (wire/recipe.h); immutable, named by digest. Returns
    /// {"name","digest"}. Errors: invalid_argument with JSON pointer; conflict, when the name exists with another
    /// digest and is not `replace`.
    virtual Result<nlohmann::json> add_recipe(const nlohmann::json& recipe, const std::string& caller) = 0;
    virtual nlohmann::json list_recipes() = 0;
    /// Evaluates a request's attributes without training: {"candidates": [...], "chosen", "why", ...}.
    virtual Result<nlohmann::json> plan(const nlohmann::json& attributes, const std::string& caller) = 0;
    /// [{dn, connected, capacity, sources, busy, ...}]
    virtual nlohmann::json list_functions() = 0;
    /// Says whether the function is in a job, or asked to be, whose model is the archive of that digest.
    virtual bool may_fetch(const std::string& dn, const std::string& sha256) = 0;
    /// Events of a request's job, oldest first: [{time, event, ...}]. Errors: not_found.
    virtual Result<nlohmann::json> log_of(const std::string& request_id) = 0;
    /// Prometheus text format.
    virtual std::string metrics() = 0;
    /// Ready to serve: store opened, objects loaded. Errors: unavailable with the reason.
    virtual Result<void> ready() = 0;
};

} // namespace muster::producer
