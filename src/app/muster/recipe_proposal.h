/// A recipe for a source that was looked at, for people to go on from.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace muster::app {

/// Returns the YAML of a recipe that passes `muster recipe check`: family, loss and metrics by what the target is,
/// columns excluded that cannot teach anything (empty, always the same, names of rows) or give the target away, each
/// with the reason as a comment. `inspection`: data/inspect.h. An empty `target` is the last column that can be one.
/// Errors: invalid_argument: no such target (with the nearest), one that is empty or always the same, no input left.
[[nodiscard]] Result<std::string>
propose_recipe(const nlohmann::json& inspection, const std::filesystem::path& source, const std::string& target);

} // namespace muster::app
