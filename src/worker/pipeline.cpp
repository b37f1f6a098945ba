#include "worker/pipeline.h"

#include "base/assert.h"
#include "base/digest.h"
#include "worker/accumulating_linear.h"
#include "worker/dropout.h"
#include "worker/families.h"
#include "worker/loss.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

namespace muster::worker {
namespace {

constexpr int tag_activations = 1;
constexpr int tag_gradients = 2;
constexpr int tag_targets = 4; // 3: stage_weights.cpp
/// Tensors that may wait to be sent in one direction: enough that a stage does not wait for its neighbour's receive.
constexpr std::size_t pending_max = 2;

constexpr std::int64_t signal_loss = 0;
constexpr std::int64_t signal_stop = 1;
constexpr std::int64_t signal_squares = 2;
constexpr std::int64_t signal_size = 3;

/// Adds the time it lives to a sum.
class Waiting {
public:
    explicit Waiting(double& sum) : sum_{sum} {}
    ~Waiting() { sum_ += seconds_between(begin_, std::chrono::steady_clock::now()); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

private:
    double& sum_;
    SteadyTime begin_{std::chrono::steady_clock::now()};
};

at::ScalarType target_type(const Recipe& recipe, const Preprocessing& preprocessing) {
    return preprocessing.outputs() > 1 ? at::kLong : scalar_type(recipe);
}

} // namespace

Pipeline::Pipeline(ModelProgram& program,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   Ranks& ranks,
                   const std::vector<ModelStage>& stages,
                   std::int64_t micro_rows,
                   std::int64_t steps)
    : program_{program}, ranks_{ranks}, loss_{recipe.loss, recipe.quantile}, seed_{recipe.seed},
      stages_{stages_of_replica(stages)}, stage_{ranks.rank() % stages_}, first_rank_{ranks.rank() - stage_},
      recompute_{stages[ranks.rank()].recompute}, micro_rows_{micro_rows},
      optimizer_{recipe.optimizer, program.parameters(), steps}, replica_sum_{ranks.group(), stages_} {
    MUSTER_ASSERT(stages.size() == ranks.size() && stages_ > 1 && micro_rows > 0);
    for (std::size_t i = 0; first() && i < stages_; ++i) { // inputs may be needed until backward
        buffers_.emplace_back(recipe, preprocessing, micro_rows);
    }
    const auto& group = ranks.group();
    const int rank = static_cast<int>(ranks.rank());
    const auto type = scalar_type(recipe);
    if (!first()) {
        activations_in_.emplace(group, rank - 1, tag_activations, type);
        gradients_out_.emplace(group, rank - 1, tag_gradients, false);
    }
    if (!last()) {
        activations_out_.emplace(group, rank + 1, tag_activations, true);
        gradients_in_.emplace(group, rank + 1, tag_gradients, type);
    }
    if (first()) {
        targets_out_.emplace(group, rank + static_cast<int>(stages_) - 1, tag_targets, true);
    }
    if (last()) {
        const int from = static_cast<int>(first_rank_);
        targets_in_.emplace(group, from, tag_targets, target_type(recipe, preprocessing));
    }
}

Pipeline::~Pipeline() {
    for (const at::Tensor& parameter : program_.parameters()) {
        parameter.mutable_grad().reset();
    }
}

std::span<const std::int64_t> Pipeline::micro_batch(std::int64_t index) const {
    const std::int64_t begin = index * micro_rows_;
    return rows_.subspan(static_cast<std::size_t>(begin),
                         static_cast<std::size_t>(std::min(micro_rows_, std::ssize(rows_) - begin)));
}

at::Tensor Pipeline::taken(StageInlet& inlet) {
    const Waiting waiting{waited_};
    return inlet.take();
}

void Pipeline::expect(StageInlet& inlet, std::int64_t rows) {
    const Waiting waiting{waited_}; // the first time for the sizes
    inlet.expect(rows);
}

void Pipeline::put(StageOutlet& outlet, const at::Tensor& tensor, std::size_t pending_max) {
    const Waiting waiting{waited_};
    outlet.put(tensor, pending_max);
}

at::Tensor Pipeline::computed(const Held& held) {
    const DropoutScope dropout{seed_, begun_, held.first_row};
    return program_.forward(held.input);
}

/// Gets a micro-batch: at the first stage from the matrix, elsewhere from others, which have sent the next one too when
/// this one is computed.
void Pipeline::take_in(std::int64_t index, Held& held) {
    if (first()) {
        BatchBuffer& buffer = buffers_[static_cast<std::size_t>(index) % buffers_.size()];
        const Batch batch = buffer.gather(*matrix_, micro_batch(index));
        held.input = batch.rows;
        // A copy: the buffer may be filled again before it has left.
        put(*targets_out_, batch.target.clone(), stages_ + 1);
        return;
    }
    // Targets first, as they are sent before what is computed from the same rows.
    const auto ask = [&](std::int64_t wanted) {
        if (last()) {
            expect(*targets_in_, std::ssize(micro_batch(wanted)));
        }
        expect(*activations_in_, std::ssize(micro_batch(wanted)));
    };
    if (activations_in_->expected() == 0) {
        ask(index);
    }
    if (last()) {
        held.target = taken(*targets_in_);
    }
    held.input = taken(*activations_in_);
    if (index + 1 < count_) {
        ask(index + 1);
    }
}

void Pipeline::forward_micro(std::int64_t index) {
    Held held{.first_row = first_row_ + index * micro_rows_};
    take_in(index, held);
    if (recompute_ && !last()) {
        const c10::AutoGradMode no_grad{false};
        put(*activations_out_, computed(held), pending_max);
    } else {
        held.input.requires_grad_(!first());
        held.output = computed(held);
        if (!last()) {
            put(*activations_out_, held.output.detach(), pending_max);
        }
    }
    held_.push_back(std::move(held));
}

void Pipeline::backward_micro(std::int64_t index) {
    Held held = std::move(held_.front());
    held_.pop_front();
    if (!held.output.defined()) {
        held.input.requires_grad_(!first());
        held.output = computed(held);
    }
    if (last()) {
        const at::Tensor loss = loss_part(loss_, held.output, held.target, global_rows_);
        held.output.reset();
        loss_sum_ += loss.item<double>();
        loss.backward();
    } else {
        gradients_in_->set_row(held.output.sizes().slice(1).vec());
        if (gradients_in_->expected() == 0) {
            expect(*gradients_in_, std::ssize(micro_batch(index)));
        }
        const at::Tensor gradient = taken(*gradients_in_);
        if (index + 1 < count_) {
            expect(*gradients_in_, std::ssize(micro_batch(index + 1)));
        }
        const at::Tensor output = std::move(held.output);
        output.backward(gradient);
    }
    if (!first()) {
        put(*gradients_out_, held.input.grad(), pending_max);
    }
}

/// What all ranks must know before they change anything: loss, a wish to stop, the gradient's norm.
at::Tensor Pipeline::tell(bool stop_wanted) {
    at::Tensor signal = at::zeros({signal_size}, at::kDouble);
    signal[signal_loss] = loss_sum_;
    signal[signal_stop] = stop_wanted ? 1.0 : 0.0;
    // Replicas have the same gradients.
    signal[signal_squares] = first_rank_ == 0 ? optimizer_.squares_of_gradients() : 0.0;
    const double before = ranks_.wait_seconds();
    ranks_.sum(signal);
    waited_ += ranks_.wait_seconds() - before;
    ranks_.add_wait(before - ranks_.wait_seconds()); // counted with the rest at the end of the step
    return signal;
}

/// 1F1B. The rows of a short batch may be too few for each replica to have one.
void Pipeline::run_schedule() {
    count_ = (std::ssize(rows_) + micro_rows_ - 1) / micro_rows_;
    const std::int64_t ahead = std::min(count_, static_cast<std::int64_t>(stages_ - 1 - stage_));
    for (std::int64_t i = 0; i < ahead; ++i) {
        forward_micro(i);
    }
    for (std::int64_t i = ahead; i < count_; ++i) {
        forward_micro(i);
        backward_micro(i - ahead);
    }
    for (std::int64_t i = count_ - ahead; i < count_; ++i) {
        backward_micro(i);
    }
}

StepOutcome Pipeline::step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    const AccumulationScope accumulation;
    const Interval own = own_part({0, std::ssize(rows)});
    matrix_ = &matrix;
    rows_ = rows.subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.size()));
    first_row_ = own.begin;
    global_rows_ = std::ssize(rows);
    ++begun_;
    loss_sum_ = 0.0;
    waited_ = 0.0;
    for (const at::Tensor& parameter : program_.parameters()) {
        parameter.mutable_grad().reset();
    }
    run_schedule();
    {
        const Waiting waiting{waited_};
        replica_sum_.sum_gradients(program_.parameters());
    }
    const at::Tensor told = tell(stop_wanted);
    StepOutcome outcome{.loss = told[signal_loss].item<double>(), .stop = told[signal_stop].item<double>() > 0.0};
    outcome.finite = std::isfinite(outcome.loss);
    if (outcome.finite && !outcome.stop) {
        optimizer_.step(std::sqrt(told[signal_squares].item<double>()));
    }
    outcome.wait_seconds = waited_;
    ranks_.add_wait(waited_);
    outcome.compute_seconds = seconds_between(begin, std::chrono::steady_clock::now()) - waited_;
    return outcome;
}

Outputs Pipeline::forward(std::int64_t count, const Batch& batch) {
    waited_ = 0.0;
    at::Tensor input = batch.rows;
    Outputs outputs;
    if (first()) {
        put(*targets_out_, batch.target.clone(), stages_ + 1);
    }
    if (last()) {
        expect(*targets_in_, count);
    }
    if (!first()) {
        expect(*activations_in_, count);
        input = taken(*activations_in_);
    }
    const at::Tensor output = program_.forward(input);
    if (last()) {
        outputs = {output, taken(*targets_in_)};
    } else {
        put(*activations_out_, output, pending_max);
    }
    ranks_.add_wait(waited_);
    return outputs;
}

std::string Pipeline::parameters_digest() {
    const std::string own = program_.parameters_digest();
    const auto length = std::ssize(own);
    at::Tensor all = at::zeros({static_cast<std::int64_t>(ranks_.size()), length}, at::kLong);
    for (std::int64_t i = 0; i < length; ++i) {
        all[static_cast<std::int64_t>(ranks_.rank())][i] = static_cast<std::int64_t>(own[static_cast<std::size_t>(i)]);
    }
    ranks_.sum(all);
    const at::Tensor replica =
        all.narrow(0, static_cast<std::int64_t>(first_rank_), static_cast<std::int64_t>(stages_)).flatten();
    std::string digests;
    for (std::int64_t i = 0; i < replica.numel(); ++i) {
        digests += static_cast<char>(replica[i].item<std::int64_t>());
    }
    return sha256_hex(digests);
}

} // namespace muster::worker
