#include "worker/pipeline.h"

#include "base/assert.h"
#include "base/digest.h"
#include "worker/accumulating_linear.h"
#include "worker/dropout.h"
#include "worker/loss.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

namespace muster::worker {
namespace {

constexpr int tag_activations = 1;
constexpr int tag_gradients = 2;
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

at::ScalarType type_of(const Recipe& recipe) {
    return recipe.number_type == NumberType::fp64 ? at::kDouble : at::kFloat;
}

} // namespace

Pipeline::Pipeline(ModelProgram& program,
                   const Recipe& recipe,
                   const Preprocessing& preprocessing,
                   Ranks& ranks,
                   const std::vector<ModelStage>& stages,
                   std::int64_t micro_rows,
                   std::int64_t steps)
    : program_{program}, ranks_{ranks}, loss_{recipe.loss}, seed_{recipe.seed}, stage_{ranks.rank()},
      stages_{stages.size()}, recompute_{stages[stage_].recompute}, micro_rows_{micro_rows},
      optimizer_{recipe.optimizer, program.parameters(), steps} {
    MUSTER_ASSERT(stages_ == ranks.size() && stages_ > 1 && micro_rows > 0);
    // Inputs are read at the first stage, targets at the last; both may be needed until backward.
    const std::size_t slots = first() ? stages_ : last() ? 1 : 0;
    for (std::size_t i = 0; i < slots; ++i) {
        buffers_.emplace_back(recipe, preprocessing, micro_rows);
    }
    const auto& group = ranks.group();
    const int rank = static_cast<int>(stage_);
    const auto type = type_of(recipe);
    if (!first()) {
        activations_in_.emplace(group, rank - 1, tag_activations, type);
        gradients_out_.emplace(group, rank - 1, tag_gradients, false);
    }
    if (!last()) {
        activations_out_.emplace(group, rank + 1, tag_activations, true);
        gradients_in_.emplace(group, rank + 1, tag_gradients, type);
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

void Pipeline::put(StageOutlet& outlet, const at::Tensor& tensor) {
    const Waiting waiting{waited_};
    outlet.put(tensor, pending_max);
}

at::Tensor Pipeline::computed(const Held& held) {
    const DropoutScope dropout{seed_, begun_, held.first_row};
    return program_.forward(first() ? held.batch.rows : held.input);
}

void Pipeline::forward_micro(std::int64_t index) {
    Held held{.first_row = index * micro_rows_};
    if (!buffers_.empty()) {
        held.batch = buffers_[static_cast<std::size_t>(index) % buffers_.size()].gather(*matrix_, micro_batch(index));
    }
    if (!first()) {
        if (activations_in_->expected() == 0) {
            const Waiting waiting{waited_};
            activations_in_->expect(std::ssize(micro_batch(index)));
        }
        held.input = taken(*activations_in_);
        if (index + 1 < count_) {
            activations_in_->expect(std::ssize(micro_batch(index + 1))); // comes while this one is computed
        }
    }
    if (recompute_ && !last()) {
        const c10::AutoGradMode no_grad{false};
        put(*activations_out_, computed(held));
    } else {
        if (held.input.defined()) {
            held.input.requires_grad_(true);
        }
        held.output = computed(held);
        if (!last()) {
            put(*activations_out_, held.output.detach());
        }
    }
    held_.push_back(std::move(held));
}

void Pipeline::backward_micro(std::int64_t index) {
    Held held = std::move(held_.front());
    held_.pop_front();
    if (!held.output.defined()) {
        if (held.input.defined()) {
            held.input.requires_grad_(true);
        }
        held.output = computed(held);
    }
    if (last()) {
        const at::Tensor loss = loss_part(loss_, held.output, held.batch.target, std::ssize(rows_));
        held.output.reset();
        loss_sum_ += loss.item<double>();
        loss.backward();
    } else {
        gradients_in_->set_row(held.output.sizes().slice(1).vec());
        if (gradients_in_->expected() == 0) {
            gradients_in_->expect(std::ssize(micro_batch(index)));
        }
        const at::Tensor gradient = taken(*gradients_in_);
        if (index + 1 < count_) {
            gradients_in_->expect(std::ssize(micro_batch(index + 1)));
        }
        const at::Tensor output = std::move(held.output);
        output.backward(gradient);
    }
    if (!first()) {
        put(*gradients_out_, held.input.grad());
    }
}

/// What all ranks must know before they change anything: loss, a wish to stop, the gradient's norm.
at::Tensor Pipeline::tell(bool stop_wanted) {
    at::Tensor signal = at::zeros({signal_size}, at::kDouble);
    signal[signal_loss] = loss_sum_;
    signal[signal_stop] = stop_wanted ? 1.0 : 0.0;
    signal[signal_squares] = optimizer_.squares_of_gradients();
    const double before = ranks_.wait_seconds();
    ranks_.sum(signal);
    waited_ += ranks_.wait_seconds() - before;
    ranks_.add_wait(before - ranks_.wait_seconds()); // counted with the rest at the end of the step
    return signal;
}

StepOutcome Pipeline::step(const Matrix& matrix, std::span<const std::int64_t> rows, bool stop_wanted) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    const AccumulationScope accumulation;
    matrix_ = &matrix;
    rows_ = rows;
    ++begun_;
    count_ = (std::ssize(rows) - 1) / micro_rows_ + 1;
    loss_sum_ = 0.0;
    waited_ = 0.0;
    for (const at::Tensor& parameter : program_.parameters()) {
        parameter.mutable_grad().reset();
    }
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

at::Tensor Pipeline::forward(const at::Tensor& rows) {
    waited_ = 0.0;
    at::Tensor input = rows;
    if (!first()) {
        const Waiting waiting{waited_};
        activations_in_->expect(rows.size(0));
        input = activations_in_->take();
    }
    at::Tensor output = program_.forward(input);
    if (!last()) {
        put(*activations_out_, output);
        output.reset();
    }
    ranks_.add_wait(waited_);
    return output;
}

std::string Pipeline::parameters_digest() {
    const std::string own = program_.parameters_digest();
    const auto length = std::ssize(own);
    at::Tensor all = at::zeros({static_cast<std::int64_t>(stages_) * length}, at::kLong);
    for (std::int64_t i = 0; i < length; ++i) {
        all[static_cast<std::int64_t>(stage_) * length + i] =
            static_cast<std::int64_t>(own[static_cast<std::size_t>(i)]);
    }
    ranks_.sum(all);
    std::string digests;
    for (std::int64_t i = 0; i < all.numel(); ++i) {
        digests += static_cast<char>(all[i].item<std::int64_t>());
    }
    return sha256_hex(digests);
}

} // namespace muster::worker
