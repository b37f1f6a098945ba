/// Recipes as JSON (schema: api/recipe.schema.json).
#pragma once

#include "base/result.h"
#include "model/recipe.h"
#include "wire/fields.h"

namespace muster::wire {

/// Reads what a recipe says of CSV (data.csv). Errors: as recipe_from_json.
[[nodiscard]] Result<RecipeCsv> csv_from_json(const Json& json);
[[nodiscard]] Json to_json(const RecipeCsv& csv);

/// Reads a recipe, checks it (model's check()) and sets its digest. `places` gives file positions to errors.
/// Errors: invalid_argument with the place, the allowed values and the nearest match.
[[nodiscard]] Result<Recipe> recipe_from_json(const Json& json, const Places* places = nullptr);

/// The canonical JSON: every field, keys sorted, without the digest.
[[nodiscard]] Json to_json(const Recipe& recipe);

/// SHA-256, hex, of the canonical JSON: what names a recipe's version.
[[nodiscard]] std::string digest_of(const Recipe& recipe);

/// How the kind of a model begins that is a program of a user.
inline constexpr const char* user_model_kind = "torchscript ";

/// For people and policy: "mlp 256-256", "linear", "torchscript 1a2b3c4d5e6f" by the archive's digest.
[[nodiscard]] std::string model_kind(const Recipe& recipe);

} // namespace muster::wire
