/// The exit codes of every verb (docs/operating.md).
#pragma once

#include "base/result.h"

namespace muster::app {

enum ExitCode : int {
    exit_done = 0,
    exit_no_model = 1,    ///< the job ended without a model
    exit_not_allowed = 2, ///< cannot connect or not allowed
    exit_timeout = 3,
    exit_wrong_input = 4,
};

/// Prints `error: ...` to stderr and returns the exit code that fits.
[[nodiscard]] int report(const Error& error);

} // namespace muster::app
