/// Measures what the planner decides by: step time, memory and links, on the real model (algorithms.md 1.1).
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/calibration.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/matrix.h"

#include <c10/core/Device.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstdint>
#include <span>

namespace muster::worker {

class UserModel;

/// Limits of a calibration.
struct CalibrationSettings {
    int warm_up_steps{3};
    int timed_steps{5};                                 ///< at least
    Duration timed_min{std::chrono::milliseconds{200}}; ///< at least: many periods of a CPU quota, whose pauses count
    Duration steps_limit{std::chrono::seconds{8}}; ///< all batch sizes together; then fewer steps are timed, never none
    Duration link_limit{std::chrono::seconds{2}};  ///< the large all-reduces together; at least one is timed
    std::int64_t link_bytes_max{4 << 20};
    const UserModel* user_model{};            ///< of a recipe with an archive
    std::int64_t memory_bytes_max{0};         ///< this process may use; 0: not known. What would not fit is not tried
    c10::Device device{c10::DeviceType::CPU}; ///< on which whole models are trained; blocks of a chain never are
};

/// Times training steps at each of `batches` (rows, all above 0; usually three) on a fresh model, in ascending order,
/// and records the peak memory of this process after the smallest and after the largest. A batch larger than the
/// matrix repeats its rows. Touches no group: this function's compute alone.
/// Of a chain its blocks are measured first, one at a time (block_costs.h); a batch at which the whole model would not
/// fit into memory, or that the recipe wants to be split in any case, is not run but predicted from them.
/// Errors: those of ModelProgram::build; invalid_argument, when `batches` cannot be measured.
[[nodiscard]] Result<Calibration> measure_steps(const Recipe& recipe,
                                                const Preprocessing& preprocessing,
                                                const Matrix& matrix,
                                                std::span<const std::int64_t> batches,
                                                const CalibrationSettings& settings = {});

/// Times all-reduces of 4 KiB and of min(parameter_bytes, link_bytes_max) over `group`, which may be null (both rates
/// stay 0). All ranks call it; the slowest rank's time counts, so all return the same.
///   latency_seconds   mean of a small all-reduce
///   bytes_per_second  bus bandwidth 2 (n - 1) / n * bytes / (large - small)
/// Throws what the group throws.
void measure_link(const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                  Calibration& calibration,
                  const CalibrationSettings& settings = {});

/// Peak resident memory of this process so far, bytes (ru_maxrss: needs no file, so it works in the sandbox); or of the
/// device's, when that is more. A plan knows one limit for both.
[[nodiscard]] std::int64_t peak_memory_bytes(c10::Device device = c10::DeviceType::CPU);

} // namespace muster::worker
