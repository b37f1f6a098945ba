/// Closes the box around a worker that trains, step by step in the order that sandbox.h asks for.
#pragma once

#include "base/result.h"
#include "worker/sandbox.h"

#include <c10/core/Device.h>

#include <string>

namespace muster::worker {

/// After settle_process(), from the only thread of the process, before torch has computed anything. Fills in what the
/// device's driver needs. Returns which parts are closed, for the log.
/// Errors: those of load_device, start_device, forbid_files, forbid_calls and of the warm-up.
[[nodiscard]] Result<std::string> close_training_box(SandboxSpec spec, c10::Device device, int threads);

} // namespace muster::worker
