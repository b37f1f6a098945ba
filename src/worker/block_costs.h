/// Measures the blocks of a model that is a chain, one at a time: what the planner cuts by (algorithms.md 1.5).
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "model/calibration.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/matrix.h"

#include <vector>

namespace muster::worker {

class UserModel;

/// Limits of the measurement of one kind of block.
struct BlockSettings {
    int timed_steps{2};                                 ///< at least
    Duration timed_min{std::chrono::milliseconds{200}}; ///< at least: many periods of a CPU quota
    Duration timed_max{std::chrono::seconds{2}};        ///< then no further step is begun
    std::int64_t memory_bytes_max{0};                   ///< of this process; 0: not known
    const UserModel* user_model{};                      ///< of a recipe with an archive
};

/// Runs each block forward and backward on a micro-batch of micro_rows_of(recipe) rows, with only that block in memory.
/// Blocks alike in weights and input are measured once. A micro-batch larger than the matrix repeats its rows. A block
/// whose weights, gradients and optimizer state alone exceed the memory is not run: only its sizes are told.
/// Errors: those of ModelProgram::build; invalid_argument, when the matrix holds no sample.
[[nodiscard]] Result<std::vector<BlockCost>> measure_blocks(const Recipe& recipe,
                                                            const Preprocessing& preprocessing,
                                                            const Matrix& matrix,
                                                            const BlockSettings& settings = {});

/// Memory of the whole model in one process at a batch of `rows`, by the costs of its blocks.
[[nodiscard]] std::int64_t whole_memory_bytes(const Calibration& calibration, std::int64_t rows);
/// Seconds of a step of the whole model in one process at a batch of `rows`, by the costs of its blocks.
[[nodiscard]] double whole_step_seconds(const Calibration& calibration, std::int64_t rows);

} // namespace muster::worker
