/// Asks muster-data (the only program with Arrow, without network) what a source looks like.
#pragma once

#include "base/result.h"
#include "model/recipe.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace muster::app {

/// Returns what data/inspect.h describes. Errors: those that muster-data reports; unavailable; deadline_exceeded after
/// ten minutes.
[[nodiscard]] Result<nlohmann::json>
inspect_data(const std::filesystem::path& source, const RecipeCsv& csv, const std::string& target);

} // namespace muster::app
