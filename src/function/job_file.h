/// job.json in a job's folder: what a restarted agent needs to take the job and its worker over.
#pragma once

#include "base/result.h"
#include "function/process_identity.h"
#include "port/worker_process.h"

#include <filesystem>
#include <vector>

namespace muster::function {

/// What stands in the file. No secrets: the job's key lives in the memory of agent and worker only.
struct JobFile {
    JobRecord job;
    ProcessIdentity worker;
    std::vector<std::filesystem::path> cgroup{}; ///< folders of its control group
};

/// Replaces folder/job.json in one step. Errors: unavailable.
[[nodiscard]] Result<void> write_job_file(const std::filesystem::path& folder, const JobFile& file);
/// Errors: not_found; invalid_argument, when it is of another version or damaged.
[[nodiscard]] Result<JobFile> read_job_file(const std::filesystem::path& folder);

} // namespace muster::function
