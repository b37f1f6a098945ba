/// Which process it was: after a while a number may belong to another.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <string>

namespace muster::function {

/// Names one process for good: no other has the same number and start, even after a reboot.
struct ProcessIdentity {
    pid_t pid{-1};
    std::string start; ///< the boot's id and the clock ticks from boot to start, "ID/TICKS"
    friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

/// Errors: not_found, when there is no such process.
[[nodiscard]] Result<ProcessIdentity> identity_of(pid_t pid);

/// Opens a descriptor (pidfd) of that very process: it can be signalled and waited for without harm to another that got
/// its number. Errors: not_found, when it has ended, whether or not its parent has collected it.
[[nodiscard]] Result<UniqueFd> open_process(const ProcessIdentity& identity);

} // namespace muster::function
