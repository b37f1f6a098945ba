/// For tests: a device that is none, so that what computes on a device runs on machines without one.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace muster::process_group::testing {

/// Returns one of two of torch's "private use" devices, which the first call registers for the whole process; that must
/// come before torch's first backward, which asks once which devices there are. Their tensors
/// compute on the processor, but their memory is out of reach: a program that takes a device's address for one of the
/// host's dies of SIGSEGV, as it would with a GPU.
[[nodiscard]] c10::Device stand_in_device(c10::DeviceIndex index = 0);

/// Allocations of pinned host memory so far.
[[nodiscard]] std::int64_t pinned_allocations();

} // namespace muster::process_group::testing
