/// Data parallelism: every rank holds the whole model and works on its part of the rows.
#pragma once

#include "worker/engine.h"
#include "worker/program.h"
#include "worker/ranks.h"
#include "worker/step.h"

#include <vector>

namespace muster::worker {

/// The engine of one function, or of several in proportion to their shares. References outlive it.
class DataParallel final : public Engine {
public:
    /// `steps` is the length of the training, `state_shares` and `class_weights` as in TrainingStep.
    DataParallel(ModelProgram& program,
                 const Recipe& recipe,
                 const Preprocessing& preprocessing,
                 Ranks& ranks,
                 std::int64_t steps,
                 std::vector<double> state_shares = {},
                 std::vector<double> class_weights = {});

    StepOutcome step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) override;
    [[nodiscard]] Interval own_part(Interval whole) const override { return ranks_.own_part(whole); }
    [[nodiscard]] bool reads_rows() const override { return true; }
    Outputs forward(std::int64_t /*count*/, const Batch& batch) override {
        return {program_.forward(batch.rows), batch.target};
    }
    [[nodiscard]] std::int64_t forward_rows_max() const override { return 0; }
    [[nodiscard]] std::int64_t state_bytes() const override { return step_.state_bytes(); }
    [[nodiscard]] std::string parameters_digest() override { return program_.parameters_digest(); }

private:
    ModelProgram& program_;
    Ranks& ranks_;
    TrainingStep step_;
};

} // namespace muster::worker
