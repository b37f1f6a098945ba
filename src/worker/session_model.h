/// The model of a job that a user brought: opened, checked, and tried on the job's own rows.
#pragma once

#include "base/result.h"
#include "model/recipe.h"
#include "worker/run_watch.h"
#include "worker/session_job.h"
#include "worker/user_model.h"

#include <memory>

namespace muster::worker {

/// Opens the archive in `fd`, checks that the recipe means it, and runs it on the first two samples of `data`. `watch`
/// outlives what comes back. Errors: invalid_argument, all of UserModel's; also when no archive was handed over, or the
/// data has no sample. Throws std::bad_alloc.
[[nodiscard]] Result<std::unique_ptr<UserModel>>
open_user_model(int fd, const Recipe& recipe, const SessionData& data, RunWatch& watch);

} // namespace muster::worker
