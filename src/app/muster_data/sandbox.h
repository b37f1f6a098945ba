/// What muster-data gives up before it reads a file that somebody else wrote.
#pragma once

#include "base/result.h"

#include <cstdint>

namespace muster::app {

/// Limits the process for good: no new privileges, no core dumps, at most `memory_bytes` of private memory
/// (allocations beyond it fail), no sockets, no other programs, no looking into other processes.
/// Files stay reachable: sources and cache are given by path. Errors: unavailable, with what the kernel refused.
[[nodiscard]] Result<void> confine(std::uint64_t memory_bytes);

} // namespace muster::app
