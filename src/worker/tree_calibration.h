/// Measures what the planner decides by, of boosted trees (calibration.h is for networks). No torch.
#pragma once

#include "base/clock.h"
#include "model/calibration.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/calibration.h"
#include "worker/matrix.h"

#include <cstdint>
#include <span>

namespace muster::worker {

/// Times trees on the first rows, alone: `batches` (rows, all above 0; usually three) in ascending order, with the peak
/// memory of this process after the smallest and after the largest. parameter_bytes is half of what a tree's histograms
/// take: they are reduced and not gathered, so that they cost what an all-reduce of that size does.
/// Errors: invalid_argument, when `batches` cannot be measured. Throws what BoostedTrees throws.
[[nodiscard]] Result<Calibration> measure_trees(const Recipe& recipe,
                                                const Preprocessing& preprocessing,
                                                const Matrix& matrix,
                                                std::span<const std::int64_t> batches,
                                                int threads,
                                                const CalibrationSettings& settings = {});

} // namespace muster::worker
