/// Pipeline parallelism: every rank holds a run of the model's blocks, micro-batches pass through all of them.
/// Source: 1F1B, the schedule of PipeDream-Flush (Narayanan et al., "Memory-Efficient Pipeline-Parallel DNN Training",
/// ICML 2021).
#pragma once

#include "model/stage.h"
#include "worker/batch.h"
#include "worker/engine.h"
#include "worker/loss.h"
#include "worker/optimizer.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/replica_sum.h"
#include "worker/stage_link.h"

#include <deque>
#include <optional>
#include <vector>

namespace muster::worker {

/// The engine of one stage. Ranks are the stages in the order of the chain; those of further replicas of the model
/// follow, in the same order, and work on other rows of each batch. The result is that of the whole model in one
/// process, up to the order in which micro-batches are summed. References outlive it.
///
/// The rows are read where the first stage is: it sends inputs through the chain and targets to the last stage, so no
/// other rank needs the data.
///
/// Memory: own parameters, gradients and optimizer state, and activations of as many micro-batches as there are stages
/// from here to the end; with ModelStage::recompute only what each of these got, and the activations of one.
class Pipeline final : public Engine {
public:
    /// `program` holds the blocks of `stages[rank]`; `micro_rows` is the size of a micro-batch, `steps` the length of
    /// the training. `recipe` is one of a chain (block_count() > 0), with a group of stages.size() ranks, whose shares
    /// are the rows of a replica at its first stage and zero elsewhere.
    Pipeline(ModelProgram& program,
             const Recipe& recipe,
             const Preprocessing& preprocessing,
             Ranks& ranks,
             const std::vector<ModelStage>& stages,
             std::int64_t micro_rows,
             std::int64_t steps);
    ~Pipeline() override;
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    StepOutcome step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) override;
    [[nodiscard]] Interval own_part(Interval whole) const override {
        return part_of(whole, ranks_.shares(), first_rank_);
    }
    [[nodiscard]] bool reads_rows() const override { return first(); }
    Outputs forward(std::int64_t count, const Batch& batch) override;
    [[nodiscard]] std::int64_t forward_rows_max() const override { return micro_rows_; }
    [[nodiscard]] std::int64_t state_bytes() const override { return optimizer_.state_bytes(); }
    /// SHA-256 over the digests of all stages of the own replica in order.
    [[nodiscard]] std::string parameters_digest() override;

private:
    /// A micro-batch between its forward and its backward pass.
    struct Held {
        at::Tensor input;         ///< rows, or what came from the stage before
        at::Tensor output;        ///< with what backward needs; undefined where it is computed again
        at::Tensor target;        ///< last stage
        std::int64_t first_row{}; ///< in the global batch
    };

    [[nodiscard]] bool first() const { return stage_ == 0; }
    [[nodiscard]] bool last() const { return stage_ + 1 == stages_; }
    [[nodiscard]] std::span<const std::int64_t> micro_batch(std::int64_t index) const;
    void take_in(std::int64_t index, Held& held);
    void forward_micro(std::int64_t index);
    void backward_micro(std::int64_t index);
    at::Tensor computed(const Held& held);
    at::Tensor taken(StageInlet& inlet);
    void expect(StageInlet& inlet, std::int64_t rows);
    void put(StageOutlet& outlet, const at::Tensor& tensor, std::size_t pending_max);
    void run_schedule();
    [[nodiscard]] at::Tensor tell(bool stop_wanted);

    ModelProgram& program_;
    Ranks& ranks_;
    LossTerms loss_;
    std::uint64_t seed_;
    std::int64_t begun_{-1}; ///< steps; the one that runs
    std::size_t stages_;     ///< of a replica
    std::size_t stage_;      ///< of them, held here
    std::size_t first_rank_; ///< of the own replica
    bool recompute_;
    std::int64_t micro_rows_;
    std::vector<BatchBuffer> buffers_; ///< one for each micro-batch that can be held here
    Optimizer optimizer_;
    std::optional<StageInlet> activations_in_;
    std::optional<StageOutlet> activations_out_;
    std::optional<StageInlet> gradients_in_;
    std::optional<StageOutlet> gradients_out_;
    std::optional<StageOutlet> targets_out_; ///< first stage
    std::optional<StageInlet> targets_in_;   ///< last stage
    ReplicaSum replica_sum_;

    // Of the step that is under way.
    const Matrix* matrix_{nullptr};
    std::span<const std::int64_t> rows_; ///< of the own replica
    std::int64_t first_row_{0};          ///< of them, in the global batch
    std::int64_t global_rows_{0};
    std::int64_t count_{0}; ///< micro-batches
    std::deque<Held> held_;
    double loss_sum_{0.0};
    double waited_{0.0};
};

} // namespace muster::worker
