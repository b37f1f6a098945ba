#include "worker/step.h"

#include "worker/loss.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <cmath>

namespace muster::worker {
namespace {

/// Buckets in which gradients travel: the first is small so that sending begins early in backward, the rest large
/// enough that latency does not count (algorithms.md 2.3).
constexpr std::size_t first_bucket_bytes = 1U << 20U;
constexpr std::size_t bucket_bytes = 25U << 20U;

constexpr std::int64_t signal_loss = 0;
constexpr std::int64_t signal_stop = 1;
constexpr std::int64_t signal_size = 2;

using Group = c10::intrusive_ptr<c10d::ProcessGroup>;

/// Sums buckets (c10d's own hook would divide by the number of ranks, which is wrong for unequal parts).
class SumHook final : public c10d::CppCommHookInterface<Group> {
public:
    SumHook(Group group, SteadyTime& last_bucket) : CppCommHookInterface{std::move(group)}, last_bucket_{last_bucket} {}

    c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
        last_bucket_ = std::chrono::steady_clock::now();
        std::vector<at::Tensor> tensors{bucket.getBufferRef()};
        return state_->allreduce(tensors)->getFuture();
    }

private:
    SteadyTime& last_bucket_;
};

} // namespace

struct TrainingStep::Reduction {
    at::Tensor signal;        ///< a parameter that is never trained; its gradient is what the ranks tell each other
    at::Tensor signal_values; ///< of this rank
    SteadyTime last_bucket{}; ///< when the last bucket was handed over: from here on, backward only waits
    std::unique_ptr<c10d::Reducer> reducer;
};

TrainingStep::TrainingStep(ModelProgram& program,
                           const Recipe& recipe,
                           const Preprocessing& preprocessing,
                           Ranks& ranks,
                           std::int64_t rows_max,
                           std::int64_t steps)
    : program_{program}, loss_{recipe.loss}, ranks_{ranks}, buffer_{recipe, preprocessing, rows_max},
      optimizer_{recipe.optimizer, program.parameters(), steps} {
    if (ranks.alone()) {
        return;
    }
    reduction_ = std::make_unique<Reduction>();
    std::vector<at::Tensor> parameters = program.parameters();
    reduction_->signal = at::zeros({signal_size}, parameters.front().options()).requires_grad_(true);
    reduction_->signal_values = at::zeros({signal_size}, parameters.front().options());
    parameters.push_back(reduction_->signal);
    std::unordered_map<std::size_t, std::string> names;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        names[i] = "parameter " + std::to_string(i);
    }
    const std::vector<bool> sparse(parameters.size(), false);
    auto buckets =
        std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, {first_bucket_bytes, bucket_bytes}, sparse));
    std::ranges::reverse(buckets); // backward reaches the last parameters first
    reduction_->reducer = std::make_unique<c10d::Reducer>(std::move(parameters),
                                                          std::move(buckets),
                                                          ranks.group(),
                                                          sparse,
                                                          static_cast<std::int64_t>(bucket_bytes),
                                                          /*find_unused_parameters=*/false,
                                                          /*gradient_as_bucket_view=*/true,
                                                          std::move(names),
                                                          static_cast<std::int64_t>(first_bucket_bytes),
                                                          /*skip_all_reduce_unused_params=*/false,
                                                          /*use_python_reducer=*/false,
                                                          std::vector<std::int64_t>{});
    reduction_->reducer->register_comm_hook(std::make_unique<SumHook>(ranks.group(), reduction_->last_bucket));
}

TrainingStep::~TrainingStep() {
    drop_gradients(); // they are views of the reducer's buckets
}

void TrainingStep::drop_gradients() {
    for (const at::Tensor& parameter : program_.parameters()) {
        parameter.mutable_grad().reset();
    }
    if (reduction_) {
        reduction_->signal.mutable_grad().reset();
    }
}

at::Tensor
TrainingStep::forward_loss(const Matrix& matrix, std::span<const std::int64_t> rows, std::int64_t global_rows) {
    const Batch batch = buffer_.gather(matrix, rows);
    return loss_part(loss_, program_.forward(batch.rows), batch.target, global_rows);
}

StepOutcome TrainingStep::run(const Matrix& matrix,
                              std::span<const std::int64_t> rows,
                              std::int64_t global_rows,
                              bool stop_wanted) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    StepOutcome outcome;
    drop_gradients();
    if (reduction_) {
        c10d::Reducer& reducer = *reduction_->reducer;
        reducer.prepare_for_forward();
        if (reducer.should_rebuild_buckets()) {
            reducer.rebuild_buckets();
        }
        at::Tensor loss = forward_loss(matrix, rows, global_rows);
        reduction_->signal_values[signal_loss] = loss.detach();
        reduction_->signal_values[signal_stop] = stop_wanted ? 1.0 : 0.0;
        reducer.prepare_for_backward({});
        (loss + at::dot(reduction_->signal, reduction_->signal_values)).backward();
        outcome.wait_seconds = seconds_between(reduction_->last_bucket, std::chrono::steady_clock::now());
        const at::Tensor told = reduction_->signal.grad();
        outcome.loss = told[signal_loss].item<double>();
        outcome.stop = told[signal_stop].item<double>() > 0.0;
    } else {
        const at::Tensor loss = forward_loss(matrix, rows, global_rows);
        loss.backward();
        outcome.loss = loss.item<double>();
        outcome.stop = stop_wanted;
    }
    outcome.finite = std::isfinite(outcome.loss);
    if (outcome.finite && !outcome.stop) {
        optimizer_.step();
    }
    ranks_.add_wait(outcome.wait_seconds);
    outcome.compute_seconds = seconds_between(begin, std::chrono::steady_clock::now()) - outcome.wait_seconds;
    return outcome;
}

} // namespace muster::worker
