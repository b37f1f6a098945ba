/// Engine: how the members of a training compute together.
#pragma once

#include "worker/batch.h"
#include "worker/matrix.h"
#include "worker/sampler.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

namespace muster::worker {

/// What a step told all ranks alike.
struct StepOutcome {
    double loss{};     ///< mean over the global batch
    bool finite{true}; ///< false: the loss is not a number; nothing was changed
    bool stop{false};  ///< some rank wanted to stop; nothing was changed
    double compute_seconds{};
    double wait_seconds{};
};

/// What the model says of rows, and what it should have said.
struct Outputs {
    at::Tensor values{}; ///< see ModelProgram::forward; undefined at a rank that does not hold the end of the model
    at::Tensor target{}; ///< as Batch::target, where values are
};

/// Makes steps and outputs, with the other members where there are some: each rank makes the same calls in the same
/// order, on one thread. Methods throw what the group throws.
class Engine {
public:
    virtual ~Engine() = default;

    /// Trains on a global batch: `rows` are all its rows, in the same order at every rank (at one that reads none only
    /// their number counts).
    virtual StepOutcome step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) = 0;

    /// The part of an interval of rows that this rank works on.
    [[nodiscard]] virtual Interval own_part(Interval whole) const = 0;
    /// Says whether this rank reads rows. One that holds a later part of the model gets all that it needs from others.
    [[nodiscard]] virtual bool reads_rows() const = 0;
    /// Computes the outputs of `count` rows of the own part; `batch` has them, where this rank reads rows.
    virtual Outputs forward(std::int64_t count, const Batch& batch) = 0;
    /// The most rows forward() should get, which its memory was planned for; 0: any.
    [[nodiscard]] virtual std::int64_t forward_rows_max() const = 0;

    /// Bytes of the optimizer's state at this rank.
    [[nodiscard]] virtual std::int64_t state_bytes() const = 0;

    /// SHA-256 that names the parameters of the whole model, hex: equal at all ranks.
    [[nodiscard]] virtual std::string parameters_digest() = 0;
};

} // namespace muster::worker
