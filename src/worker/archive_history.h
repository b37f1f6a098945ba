/// Causal history in an archive: raw rows in, the derived inputs computed by the archive itself (model/history.h).
#pragma once

#include "model/history.h"

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace muster::worker {

/// The columns that an archive is given: those that it encodes, and those that its history reads beside them.
struct RawColumns {
    std::vector<std::string> numbers;
    std::vector<std::string> categories;
};

/// Adds to `encoded`, the raw inputs of an archive, what the history reads.
[[nodiscard]] RawColumns with_history(RawColumns encoded, const RecipeHistory& history);

/// Registers what the method derive() of an archive with history needs. `raw` is what with_history() returned; the
/// first `encoded_numbers` of its numbers are encoded.
void register_history(torch::jit::Module& archive,
                      const RecipeHistory& history,
                      const RawColumns& raw,
                      std::int64_t encoded_numbers);

/// The source of derive(numbers, categories), which gives the numbers that an archive encodes: float64 [rows, encoded
/// numbers], those of the history last.
[[nodiscard]] const char* derive_source(bool history);

} // namespace muster::worker
