/// Trainings whose ranks are threads over real groups. Tests only.
#pragma once

#include "process_group/backend.h"
#include "process_group/loopback_groups.h"
#include "worker/testing_matrix.h"
#include "worker/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace muster::worker {

using Group = c10::intrusive_ptr<c10d::ProcessGroup>;

/// Runs `body` for each rank in a thread of its own, over real groups on the loopback interface.
inline void run_ranks(int ranks, const std::function<void(Group)>& body) {
    process_group::testing::run_ranks(ranks, [&](std::shared_ptr<collective::Group> group) {
        body(process_group::make_process_group(std::move(group)));
    });
}

/// What one rank ended with.
struct Trained {
    std::vector<at::Tensor> parameters;
    std::optional<Result<Done>> done;
};

/// Trains with these shares, each rank in a thread, and returns what each ended with.
template <typename Problem>
std::vector<Trained> train_with(const Problem& problem,
                                const std::vector<std::int64_t>& shares,
                                const std::function<void(int, TrainingOrder&)>& adjust = {}) {
    std::vector<Trained> results(shares.size());
    const auto body = [&](Group group) {
        prepare_thread(1);
        const int rank = group ? group->getRank() : 0;
        auto program = ModelProgram::build(problem.recipe, problem.preprocessing);
        TrainingOrder order{.group = std::move(group), .batch_rows = shares};
        if (adjust) {
            adjust(rank, order);
        }
        Trained& result = results[static_cast<std::size_t>(rank)];
        result.done = train(*program, problem.recipe, problem.preprocessing, problem.matrices, order);
        for (const at::Tensor& parameter : program->parameters()) {
            result.parameters.push_back(parameter.detach().clone());
        }
    };
    if (shares.size() == 1) {
        body({});
    } else {
        run_ranks(static_cast<int>(shares.size()), body);
    }
    return results;
}

inline double relative_difference(const std::vector<at::Tensor>& left, const std::vector<at::Tensor>& right) {
    double difference = 0.0;
    for (std::size_t i = 0; i < left.size(); ++i) {
        difference =
            std::max(difference, ((left[i] - right[i]).norm() / right[i].norm().clamp_min(1e-30)).item<double>());
    }
    return difference;
}

inline double score(const Done& done, const std::string& model, const std::string& rows, const std::string& metric) {
    for (const EvaluationResult& result : done.evaluations) {
        if (result.model == model && result.rows == rows) {
            const auto found = std::ranges::find(result.scores, metric, &Score::metric);
            return found == result.scores.end() ? -1.0 : found->value;
        }
    }
    return -1.0;
}

} // namespace muster::worker
