/// Whether a recipe and its data fit, before anything is submitted.
#pragma once

#include "base/result.h"
#include "model/recipe.h"
#include "wire/fields.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace muster::app {

/// Says whether a column of numbers is the target under another name: a correlation of 1 or -1, all but rounding.
[[nodiscard]] bool leaks(const nlohmann::json& column);

/// Says whether a column has one value only.
[[nodiscard]] bool is_constant(const nlohmann::json& column);

/// What is wrong, and what only looks wrong.
struct DataCheck {
    std::vector<Error> problems{};
    std::vector<std::string> warnings{};
};

/// Holds a recipe for tables against what data/inspect.h found: every name of a column that is not there, a target that
/// does not fit the loss, inputs that cannot be used; and warns of inputs that give the target away, that are always
/// the same, or that have many categories. `places` gives file positions.
[[nodiscard]] DataCheck
check_against_data(const Recipe& recipe, const nlohmann::json& inspection, const wire::Places& places);

} // namespace muster::app
