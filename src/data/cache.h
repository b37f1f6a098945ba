/// The cache folder: one sub-folder for each encoded matrix, published in one step.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "model/preprocessing.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace muster::data {

/// A matrix in the cache.
struct Published {
    std::filesystem::path folder;
    MatrixInfo info;
};

/// A cache folder. Readers need no lock, as a sub-folder appears complete or not at all; writers come one by one. Who
/// works on a matrix holds a shared flock on its matrix.json, or it may be removed to make room.
class Cache {
public:
    /// Makes the folder when it is absent. Errors: unavailable.
    [[nodiscard]] static Result<Cache> open(const std::filesystem::path& folder);

    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    /// Returns the matrix of that key if it is there, with all its files in their right sizes, and counts that as use.
    [[nodiscard]] std::optional<Published> find(const std::string& key) const;

    /// Waits for other writers and returns the lock, which lasts as long as the descriptor.
    /// Errors: deadline_exceeded; unavailable.
    [[nodiscard]] Result<UniqueFd> lock(Deadline deadline) const;
    /// Makes an empty folder for the files of a new matrix, after removing what crashed writers left. Needs the lock.
    [[nodiscard]] Result<std::filesystem::path> begin() const;
    /// Writes matrix.json into the folder from begin() and gives the folder its name. A broken one of that name is
    /// replaced. Needs the lock. Errors: unavailable.
    [[nodiscard]] Result<Published> publish(const std::filesystem::path& unpublished,
                                            const std::string& key,
                                            const MatrixInfo& info,
                                            const Preprocessing& preprocessing) const;
    /// Removes matrices, the one that was longest not used first, until all take at most `bytes_max`; never `newest`,
    /// and none in use: those have a lock (flock) on their matrix.json. Needs the lock. Gives the number removed.
    /// Errors: unavailable, when the folder cannot be read.
    [[nodiscard]] Result<int> evict(std::int64_t bytes_max, const std::string& newest) const;

private:
    explicit Cache(std::filesystem::path folder) : folder_{std::move(folder)} {}
    std::filesystem::path folder_;
};

} // namespace muster::data
