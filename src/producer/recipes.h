/// The recipes of the model repository: kept by name, found by inference name.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/recipe.h"
#include "port/artefacts.h"
#include "port/store.h"

#include <nlohmann/json.hpp>

#include <map>
#include <mutex>
#include <string>

namespace muster::producer {

/// Keeps recipes. Safe from any thread.
class Recipes {
public:
    Recipes(Store& store, Clock& clock, const Artefacts& artefacts)
        : store_{store}, clock_{clock}, artefacts_{artefacts} {}
    /// Errors: unavailable, for a record that cannot be read. Throws StoreDown.
    [[nodiscard]] Result<void> load();
    /// Adds a recipe: either the recipe itself, or {"recipe": {...}, "replace": true} to name a new version.
    /// Returns {"name", "digest"}. Errors: invalid_argument with a JSON pointer, also when the archive of a user's
    /// model is not here; conflict. Throws StoreDown.
    [[nodiscard]] Result<nlohmann::json> add(const nlohmann::json& body, const std::string& caller);
    /// [{name, digest, inference, recipe, added_by, time}]
    [[nodiscard]] nlohmann::json list() const;
    /// Finds the recipe that an aIMLInferenceName selects, "muster:<name>" included.
    /// Errors: invalid_argument: unknown, with the names there are; ambiguous, with the candidates.
    [[nodiscard]] Result<Recipe> resolve(const std::string& inference) const;

private:
    struct Entry {
        Recipe recipe;
        std::string added_by;
        std::string time;
    };
    Store& store_;
    Clock& clock_;
    const Artefacts& artefacts_;
    mutable std::mutex mutex_{};
    std::map<std::string, Entry> by_name_{};
};

} // namespace muster::producer
