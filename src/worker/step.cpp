#include "worker/step.h"

#include "worker/dropout.h"
#include "worker/reducer.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>

namespace muster::worker {
namespace {

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
                           std::int64_t steps,
                           std::vector<double> state_shares,
                           std::vector<double> class_weights)
    : program_{program}, loss_{recipe.loss, recipe.quantile, std::move(class_weights)}, seed_{recipe.seed},
      ranks_{ranks}, buffer_{recipe, preprocessing, rows_max, program.device()} {
    if (!ranks.alone() && !state_shares.empty()) {
        sharded_ = std::make_unique<ShardedState>(
            recipe.optimizer, program.parameters(), ranks, std::move(state_shares), steps);
        return;
    }
    optimizer_.emplace(recipe.optimizer, program.parameters(), steps);
    if (!ranks.alone()) {
        reduce_from_now_on();
    }
}

void TrainingStep::reduce_from_now_on() {
    reduction_ = std::make_unique<Reduction>();
    std::vector<at::Tensor> parameters = program_.parameters();
    reduction_->signal = at::zeros({signal_size}, parameters.front().options()).requires_grad_(true);
    reduction_->signal_values = at::zeros({signal_size}, parameters.front().options());
    parameters.push_back(reduction_->signal);
    reduction_->reducer = make_reducer(std::move(parameters), ranks_.group());
    reduction_->reducer->register_comm_hook(std::make_unique<SumHook>(ranks_.group(), reduction_->last_bucket));
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

StepOutcome TrainingStep::step_alone(const LossPart& loss, bool stop_wanted) {
    const at::Tensor whole = loss();
    whole.backward();
    StepOutcome outcome{.loss = whole.item<double>(), .stop = stop_wanted};
    outcome.finite = std::isfinite(outcome.loss);
    return outcome;
}

StepOutcome TrainingStep::step_together(const LossPart& loss, bool stop_wanted) {
    c10d::Reducer& reducer = *reduction_->reducer;
    reducer.prepare_for_forward();
    if (reducer.should_rebuild_buckets()) {
        reducer.rebuild_buckets();
    }
    const at::Tensor own = loss();
    reduction_->signal_values[signal_loss] = own.detach();
    reduction_->signal_values[signal_stop] = stop_wanted ? 1.0 : 0.0;
    reducer.prepare_for_backward({});
    (own + at::dot(reduction_->signal, reduction_->signal_values)).backward();
    StepOutcome outcome;
    outcome.wait_seconds = seconds_between(reduction_->last_bucket, std::chrono::steady_clock::now());
    ranks_.add_wait(outcome.wait_seconds);
    const at::Tensor told = reduction_->signal.grad();
    outcome.loss = told[signal_loss].item<double>();
    outcome.stop = told[signal_stop].item<double>() > 0.0;
    outcome.finite = std::isfinite(outcome.loss);
    return outcome;
}

StepOutcome TrainingStep::run(const Matrix& matrix,
                              std::span<const std::int64_t> rows,
                              std::int64_t global_rows,
                              bool stop_wanted,
                              std::int64_t first) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    const DropoutScope dropout{seed_, begun_++, first};
    drop_gradients();
    const LossPart loss = [&] { return forward_loss(matrix, rows, global_rows); };
    StepOutcome outcome;
    if (sharded_) {
        if (!sharded_->rehearsed()) {
            sharded_->rehearse([&] { return forward_loss(matrix, {}, global_rows); });
            drop_gradients();
        }
        outcome = sharded_->step(loss, stop_wanted);
    } else {
        outcome = reduction_ ? step_together(loss, stop_wanted) : step_alone(loss, stop_wanted);
        if (outcome.finite && !outcome.stop) {
            optimizer_->step();
        }
    }
    outcome.compute_seconds = seconds_between(begin, std::chrono::steady_clock::now()) - outcome.wait_seconds;
    return outcome;
}

std::int64_t TrainingStep::state_bytes() const {
    return sharded_ ? sharded_->state_bytes() : optimizer_->state_bytes();
}

} // namespace muster::worker
