/// TrainingStep: forward, backward, summing over the members, optimizer. The inner loop of training and calibration.
#pragma once

#include "model/preprocessing.h"
#include "model/recipe.h"
#include "worker/batch.h"
#include "worker/engine.h"
#include "worker/loss.h"
#include "worker/optimizer.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/sharded_state.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace muster::worker {

/// Makes steps. References outlive it. One thread, the same sequence of steps on every rank.
///
/// Gradients are summed by c10d::Reducer while backward still runs. The loss and each rank's wish to stop travel with
/// them as the gradient of one more parameter, so all ranks know both in the same step without another message. With
/// the optimizer's state cut over the ranks, ShardedState does both.
class TrainingStep {
public:
    /// `rows_max` is the largest local part of a batch, `steps` the length of the training, `state_shares` the part of
    /// the optimizer's state that each rank keeps; none: every rank keeps all of it. `class_weights` as in LossTerms.
    TrainingStep(ModelProgram& program,
                 const Recipe& recipe,
                 const Preprocessing& preprocessing,
                 Ranks& ranks,
                 std::int64_t rows_max,
                 std::int64_t steps,
                 std::vector<double> state_shares = {},
                 std::vector<double> class_weights = {});
    ~TrainingStep();
    TrainingStep(const TrainingStep&) = delete;
    TrainingStep& operator=(const TrainingStep&) = delete;

    /// Trains on this rank's `rows` (there may be none) of a global batch of `global_rows`; `first` is the place of the
    /// first of them in it. Throws what the group throws.
    [[nodiscard]] StepOutcome run(const Matrix& matrix,
                                  std::span<const std::int64_t> rows,
                                  std::int64_t global_rows,
                                  bool stop_wanted,
                                  std::int64_t first = 0);

    /// Bytes of the optimizer's state at this rank.
    [[nodiscard]] std::int64_t state_bytes() const;

private:
    struct Reduction;
    using LossPart = std::function<at::Tensor()>;
    void reduce_from_now_on();
    StepOutcome step_alone(const LossPart& loss, bool stop_wanted);
    StepOutcome step_together(const LossPart& loss, bool stop_wanted);
    at::Tensor forward_loss(const Matrix& matrix, std::span<const std::int64_t> rows, std::int64_t global_rows);
    void drop_gradients();

    ModelProgram& program_;
    LossTerms loss_;
    std::uint64_t seed_;
    Ranks& ranks_;
    std::int64_t begun_{}; ///< steps
    BatchBuffer buffer_;
    std::optional<Optimizer> optimizer_;    ///< of all parameters
    std::unique_ptr<Reduction> reduction_;  ///< null when alone, or with `sharded_`
    std::unique_ptr<ShardedState> sharded_; ///< in place of the two above
};

} // namespace muster::worker
