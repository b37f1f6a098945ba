/// A control group for one worker: CPU quota and memory limit, cgroup v2 or v1.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::function {

/// What a worker gets.
struct CgroupLimits {
    double cpu_cores{};          ///< 0: no CPU limit
    std::int64_t memory_bytes{}; ///< 0: no memory limit
};

/// Owns the folders of one control group and removes them at the end (its processes must be gone by then).
/// The CPU quota has a period of 10 ms: much smoother than the usual 100 ms for steps of a few milliseconds.
class Cgroup {
public:
    /// Errors: unavailable, with what is missing (no permission, controller not delegated).
    [[nodiscard]] static Result<Cgroup>
    create(const std::string& name, const CgroupLimits& limits, const std::filesystem::path& root = "/sys/fs/cgroup");
    /// Takes over what another process has made: removed at the end like one's own.
    [[nodiscard]] static Cgroup adopt(std::vector<std::filesystem::path> folders);
    /// Removes those that a former process has left where create() would make them: named "muster-...-MARK" and without
    /// processes. Gives their number.
    static int remove_left(const std::string& mark, const std::filesystem::path& root = "/sys/fs/cgroup");
    ~Cgroup();
    Cgroup(Cgroup&&) noexcept = default;
    Cgroup& operator=(Cgroup&&) noexcept;
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;

    /// Descriptors of cgroup.procs: a child writes "0" to each to move itself (async-signal-safe).
    [[nodiscard]] std::vector<int> procs() const;
    [[nodiscard]] const std::vector<std::filesystem::path>& folders() const { return folders_; }

private:
    Cgroup() = default;
    void remove() noexcept;
    std::vector<std::filesystem::path> folders_;
    std::vector<UniqueFd> procs_;
};

} // namespace muster::function
