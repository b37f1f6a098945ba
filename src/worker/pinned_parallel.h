/// Data parallelism over rows that stay with the members that own them (layout "pinned").
#pragma once

#include "worker/engine.h"
#include "worker/pinned_rows.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/step.h"

namespace muster::worker {

/// An engine whose step() takes this rank's own rows of the batch, and all of them: nothing of the rows is known to the
/// others but the sum of gradients. Steps come batch after batch, epoch after epoch. References outlive it.
class PinnedParallel final : public Engine {
public:
    /// `steps` is the length of the training.
    PinnedParallel(ModelProgram& program,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   Ranks& ranks,
                   const PinnedRows& rows,
                   std::int64_t steps)
        : program_{program}, rows_{rows}, rank_{ranks.rank()},
          step_{program, recipe, preprocessing, ranks, rows.piece_rows_max(ranks.rank()), steps} {}

    StepOutcome step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) override {
        const std::int64_t index = begun_++ % rows_.batches();
        return step_.run(matrix, rows, rows_.batch_rows(index), stop_wanted, rows_.place(rank_, index));
    }
    [[nodiscard]] Interval own_part(Interval whole) const override { return whole; }
    [[nodiscard]] bool reads_rows() const override { return true; }
    Outputs forward(std::int64_t /*count*/, const Batch& batch) override {
        return {program_.forward(batch.rows), batch.target};
    }
    [[nodiscard]] std::int64_t forward_rows_max() const override { return 0; }
    [[nodiscard]] std::int64_t state_bytes() const override { return step_.state_bytes(); }
    [[nodiscard]] std::string parameters_digest() override { return program_.parameters_digest(); }

private:
    ModelProgram& program_;
    const PinnedRows& rows_;
    std::size_t rank_;
    std::int64_t begun_{};
    TrainingStep step_;
};

} // namespace muster::worker
