/// A recipe's file, with the archive that it may name.
#pragma once

#include "base/result.h"
#include "model/recipe.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::app {

/// What a user's archive holds, by muster-worker's word. The archive had a part in it.
struct ArchiveFacts {
    std::int64_t parameters{};
    std::int64_t blocks{};
    std::string no_chain{}; ///< why it is no chain of blocks
    std::size_t operators{};
    bool probed{}; ///< it was run on two rows
};

/// A recipe as it goes to the producer.
struct RecipeFile {
    Recipe recipe;
    std::optional<std::filesystem::path> archive{}; ///< of a user's model; named relative to the recipe's file
    ArchiveFacts facts{};
};

/// Reads a recipe. Where it says `model: {torchscript: FILE}` the archive is checked in muster-worker's sandbox, and
/// its digest, size and blocks take the place of its name. `allow_missing`: see boxed_worker.h. Errors: not_found;
/// invalid_argument with file:line:column, or all that is wrong with the archive.
[[nodiscard]] Result<RecipeFile> read_recipe_file(const std::filesystem::path& file,
                                                  const std::vector<std::string>& allow_missing);

/// Runs the archive of `file` on two made-up rows as wide as those that `data`, a file of the recipe's source, is
/// encoded to. Does nothing for other models. Errors: those of the encoding; invalid_argument, with what is wrong.
[[nodiscard]] Result<void>
probe_archive(RecipeFile& file, const std::filesystem::path& data, const std::vector<std::string>& allow_missing);

} // namespace muster::app
