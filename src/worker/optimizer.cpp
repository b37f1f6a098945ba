#include "worker/optimizer.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace muster::worker {
namespace {

constexpr double beta_first = 0.9;
constexpr double beta_second = 0.999;
constexpr double epsilon = 1e-8;
constexpr double clip_epsilon = 1e-6; // torch.nn.utils.clip_grad_norm_'s

} // namespace

Optimizer::Optimizer(const RecipeOptimizer& settings, std::vector<at::Tensor> parameters, std::int64_t steps)
    : settings_{settings}, steps_{steps}, parameters_{std::move(parameters)}, gradients_(parameters_.size()) {
    const bool adamw = settings_.kind == OptimizerKind::adamw;
    const bool momentum = settings_.momentum != 0.0;
    const c10::AutoGradMode no_grad{false};
    for (const at::Tensor& parameter : parameters_) {
        if (adamw || momentum) {
            first_.push_back(at::zeros_like(parameter));
        }
        if (adamw) {
            second_.push_back(at::zeros_like(parameter));
            counts_.push_back(at::zeros({}, parameter.options().dtype(at::kFloat)));
        }
    }
}

double Optimizer::learning_rate() const {
    if (done_ < settings_.warm_up) {
        const double start = 1.0 / static_cast<double>(settings_.warm_up);
        return settings_.learning_rate * (start + (1.0 - start) * start * static_cast<double>(done_));
    }
    if (!settings_.decay_learning_rate) {
        return settings_.learning_rate;
    }
    const std::int64_t falling = std::max<std::int64_t>(1, steps_ - settings_.warm_up);
    const double progress = static_cast<double>(done_ - settings_.warm_up) / static_cast<double>(falling);
    return settings_.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

std::int64_t Optimizer::state_bytes() const {
    std::size_t bytes = 0;
    for (const auto* tensors : {&first_, &second_, &counts_}) {
        for (const at::Tensor& tensor : *tensors) {
            bytes += tensor.nbytes();
        }
    }
    return static_cast<std::int64_t>(bytes);
}

double Optimizer::squares_of_gradients() const {
    if (settings_.clip_norm <= 0.0) {
        return 0.0;
    }
    double squares = 0.0;
    for (const at::Tensor& parameter : parameters_) {
        const double norm = at::linalg_vector_norm(parameter.grad()).item<double>();
        squares += norm * norm;
    }
    return squares;
}

void Optimizer::clip(std::optional<double> whole_norm) {
    if (settings_.clip_norm <= 0.0) {
        return;
    }
    at::Tensor whole;
    if (whole_norm) {
        whole = at::scalar_tensor(*whole_norm, gradients_.front().options());
    } else {
        std::vector<at::Tensor> norms;
        for (const at::Tensor& gradient : gradients_) {
            norms.push_back(at::linalg_vector_norm(gradient));
        }
        whole = at::linalg_vector_norm(at::stack(norms));
    }
    const at::Tensor factor = at::clamp_max(settings_.clip_norm / (whole + clip_epsilon), 1.0);
    for (at::Tensor& gradient : gradients_) {
        gradient.mul_(factor);
    }
}

void Optimizer::step(std::optional<double> whole_norm) {
    const c10::AutoGradMode no_grad{false};
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        gradients_[i] = parameters_[i].grad();
    }
    clip(whole_norm);
    const double rate = learning_rate();
    if (settings_.kind == OptimizerKind::adamw) {
        for (at::Tensor& count : counts_) {
            // Exact up to 2^24 steps, where the correction is 1 anyway. Without a call of torch where that can be.
            if (count.is_cpu()) {
                *count.mutable_data_ptr<float>() += 1.0F;
            } else {
                count.add_(1.0);
            }
        }
        at::_fused_adamw_(parameters_,
                          gradients_,
                          first_,
                          second_,
                          {},
                          counts_,
                          rate,
                          beta_first,
                          beta_second,
                          settings_.weight_decay,
                          epsilon,
                          /*amsgrad=*/false,
                          /*maximize=*/false);
    } else {
        at::_fused_sgd_(parameters_,
                        gradients_,
                        first_,
                        settings_.weight_decay,
                        settings_.momentum,
                        rate,
                        /*dampening=*/0.0,
                        /*nesterov=*/false,
                        /*maximize=*/false,
                        /*is_first_step=*/done_ == 0);
    }
    gradients_.assign(parameters_.size(), {}); // lets the trainer drop gradients
    ++done_;
}

} // namespace muster::worker
