/// From sources to a published matrix: what the program muster-data does.
#pragma once

#include "base/result.h"
#include "data/cache.h"
#include "data/settings.h"
#include "model/recipe.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>

namespace muster::data {

/// What to encode.
struct DataRequest {
    std::filesystem::path train;
    std::optional<std::filesystem::path> test;
    Recipe recipe;
    std::optional<Preprocessing> preprocessing{}; ///< to encode by; none: what the training source says
    std::int64_t group_rows_min{};                ///< above 0: statistics are wanted, and no matrix (data/gather.h)
};

/// Reads {"train": path, "test": path or null, "recipe": canonical recipe}, with "preprocessing" or
/// "group_rows_min" where the rows are pinned. Errors: invalid_argument.
[[nodiscard]] Result<DataRequest> data_request_from_json(const nlohmann::json& json);

/// Encodes the sources, or finds them encoded. The key of the cache is the SHA-256 of the sources' content and of what
/// of the recipe changes the matrix (target, exclude, categorical, kind of loss, windows).
/// Errors: those of used_columns, read_rows, Learner::finish and Encoder::encode; unavailable (disk, a source that
/// changes while it is read); resource_exhausted.
[[nodiscard]] Result<Published>
prepare(const DataRequest& request, const std::filesystem::path& folder, const Settings& settings);

} // namespace muster::data
