/// Trainings of a text's model in stages, whose ranks are threads over real groups. Tests only.
#pragma once

#include "worker/testing_ranks.h"
#include "worker/testing_text_problem.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace muster::worker {

/// Stages of these numbers of blocks, of each replica.
inline std::vector<ModelStage>
stages_of(const std::vector<std::int64_t>& blocks, bool recompute = false, int replicas = 1) {
    std::vector<ModelStage> stages;
    for (int i = 0; i < replicas; ++i) {
        std::int64_t first = 0;
        for (const std::int64_t count : blocks) {
            stages.push_back({first, count, recompute});
            first += count;
        }
    }
    return stages;
}

/// What the stages ended with.
struct Outcome {
    std::vector<at::Tensor> parameters; ///< of all stages, in order
    std::vector<Result<Done>> done;
};

/// Only where a replica begins is the data.
inline Outcome train_in_stages(const TextProblem& problem,
                               const std::vector<ModelStage>& stages,
                               std::int64_t micro_rows,
                               const std::function<void(int, TrainingOrder&)>& adjust = {}) {
    std::vector<std::vector<at::Tensor>> parameters(stages.size());
    std::vector<std::optional<Result<Done>>> done(stages.size());
    run_ranks(static_cast<int>(stages.size()), [&](Group group) {
        prepare_thread(1);
        const auto rank = static_cast<std::size_t>(group->getRank());
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing, stages[rank]).value();
        TrainingOrder order{.group = std::move(group),
                            .batch_rows = std::vector<std::int64_t>(stages.size(), problem.recipe.batch),
                            .stages = stages,
                            .micro_rows = micro_rows};
        if (adjust) {
            adjust(static_cast<int>(rank), order);
        }
        const MatrixInfo info{.rows = problem.matrices.train.rows,
                              .test_rows = problem.matrices.test.rows,
                              .columns = problem.matrices.train.columns};
        const MatrixSet elsewhere = matrices_elsewhere(info).value();
        const MatrixSet& matrices = stages[rank].first_block == 0 ? problem.matrices : elsewhere;
        done[rank] = train(program, problem.recipe, problem.preprocessing, matrices, order);
        for (const at::Tensor& parameter : program.parameters()) {
            parameters[rank].push_back(parameter.detach().clone());
        }
    });
    Outcome outcome;
    for (std::size_t rank = 0; rank < stages.size(); ++rank) {
        outcome.parameters.insert(outcome.parameters.end(), parameters[rank].begin(), parameters[rank].end());
        outcome.done.push_back(std::move(*done[rank]));
    }
    return outcome;
}

} // namespace muster::worker
