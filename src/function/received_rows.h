/// Rows of other functions, for as long as a job and its next attempts need them.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "model/preprocessing.h"
#include "port/worker_process.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::function {

/// Files without a name, which the worker writes shipped rows to. They hold what has arrived when the worker ends, and
/// the worker of the next attempt goes on behind it. One thread.
class ReceivedRows {
public:
    /// `folder` is where the disk space comes from; it is made when it is needed.
    ReceivedRows(std::filesystem::path folder, std::int64_t bytes_max);

    /// Files for data of this description: those there are, where they are for the same data, else empty ones, with
    /// room reserved for all of it. They stay this object's.
    /// Errors: resource_exhausted, when it is more than bytes_max or the disk has no room; unavailable.
    [[nodiscard]] Result<std::vector<LandingFile>> files_for(const MatrixInfo& info);
    /// Deletes them.
    void drop();
    /// Keeps them until `until`.
    void keep(SteadyTime until);
    /// Deletes what was kept for too long.
    void drop_when_due(SteadyTime now);

private:
    struct File {
        std::string name;
        UniqueFd fd;
    };

    std::filesystem::path folder_;
    std::int64_t bytes_max_;
    std::string digest_{}; ///< of the data
    std::vector<File> files_{};
    SteadyTime until_{SteadyTime::max()};
};

} // namespace muster::function
