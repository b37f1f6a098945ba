/// The file of trained boosted trees: LightGBM's model text, and behind it, where LightGBM does not look, what makes
/// its rows of raw ones (api/model.md).
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/tree_model.h"

#include <string>
#include <string_view>

namespace muster::worker {

/// How the file of boosted trees begins; no other model does.
inline constexpr std::string_view tree_archive_begin = "tree\n";

/// Returns the file of `text`, as BoostedTrees::text() gives it: columns get their names, and recipe and preprocessing
/// follow as one line of JSON.
[[nodiscard]] std::string
tree_archive(const Recipe& recipe, const Preprocessing& preprocessing, const std::string& text);

/// Such a file, read.
struct TreeArchive {
    TreeModel model;
    Recipe recipe;
    Preprocessing preprocessing;
};

/// Reads a file, which may be anybody's. Errors: invalid_argument, also when its parts do not fit each other;
/// resource_exhausted.
[[nodiscard]] Result<TreeArchive> read_tree_archive(std::string_view text);

} // namespace muster::worker
