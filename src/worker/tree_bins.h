/// Where LightGBM cuts each column into bins: the same at all members. No torch.
#pragma once

#include "worker/boosted_trees.h"

#include <memory>
#include <string>

namespace muster::worker {

/// A data set of LightGBM's, freed at the end.
struct TreeDatasetDeleter {
    void operator()(void* dataset) const;
};
using TreeDataset = std::unique_ptr<void, TreeDatasetDeleter>;

/// Returns the bins of all columns, found in a seeded sample of the training rows, as LightGBM's reference data set in
/// bytes: a function of its arguments alone, not of this member's own rows.
///   settings  LightGBM's parameters
/// Throws std::runtime_error with LightGBM's words.
[[nodiscard]] std::string make_bins(const TreeData& data, const std::string& settings, std::uint64_t seed);

/// Returns this member's own rows, at least one, in these bins. Throws std::runtime_error with LightGBM's words.
[[nodiscard]] TreeDataset
bin_own_rows(const TreeData& data, const std::string& bins, int outputs, const std::string& settings);

} // namespace muster::worker
