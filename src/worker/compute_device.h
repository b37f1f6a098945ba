/// Where a worker computes: on the processor, or on one GPU of its machine.
#pragma once

#include "base/result.h"
#include "worker/processor.h"
#include "worker/sandbox.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>

namespace muster::worker {

/// Reads "cpu", "cuda" (the first GPU) or "cuda:1". Errors: invalid_argument, with what is allowed.
[[nodiscard]] Result<c10::Device> parse_device(const std::string& name);

/// Loads what lets torch know the device. Comes before torch computes anything: it asks once which devices there are.
/// Starts no thread. Errors: unavailable, when this libtorch has no CUDA or does not load.
[[nodiscard]] Result<void> load_device(c10::Device device);

/// Of a loaded device: starts its driver for this process and computes a little on it, so that a box which closes later
/// finds everything ready: the driver's threads, kernels of products, pinned memory. Nothing to do for the processor.
/// Errors: unavailable, when the machine has no such GPU or no driver, or it does not compute.
[[nodiscard]] Result<void> start_device(c10::Device device);

/// What the box must leave open for the device's driver; none for the processor.
[[nodiscard]] std::optional<DriverFiles> driver_files(c10::Device device);

/// What the device can do that number types ask for.
[[nodiscard]] Processor processor_of(c10::Device device);

/// Bytes of the device's memory; 0 for the processor, whose memory the system knows.
[[nodiscard]] std::int64_t device_memory_bytes(c10::Device device);
/// The most bytes of it that this process has used so far; 0 for the processor.
[[nodiscard]] std::int64_t device_peak_bytes(c10::Device device);

} // namespace muster::worker
