/// The part of a recipe that says which rows and columns are used.
#pragma once

#include "model/recipe.h"
#include "wire/fields.h"

#include <string>
#include <utility>
#include <vector>

namespace muster::wire {

/// What the values of an enumeration are called in JSON.
template <typename T>
using Names = std::vector<std::pair<std::string, T>>;

template <typename T>
std::string name_in(const Names<T>& names, T value) {
    for (const auto& [name, candidate] : names) {
        if (candidate == value) {
            return name;
        }
    }
    return {};
}

/// Reads /data of a recipe; what is wrong with it is kept in `parent`.
[[nodiscard]] RecipeData data_of(Fields fields, Fields& parent);
/// Returns /data of a recipe's canonical JSON.
[[nodiscard]] Json to_json(const RecipeData& data);

} // namespace muster::wire
