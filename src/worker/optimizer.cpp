#include "worker/optimizer.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <numbers>

namespace muster::worker {
namespace {

constexpr double beta_first = 0.9;
constexpr double beta_second = 0.999;
constexpr double epsilon = 1e-8;

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
            counts_.push_back(at::zeros({}, at::kFloat));
        }
    }
}

double Optimizer::learning_rate() const {
    if (!settings_.decay_learning_rate) {
        return settings_.learning_rate;
    }
    const double progress = static_cast<double>(done_) / static_cast<double>(steps_);
    return settings_.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

void Optimizer::step() {
    const c10::AutoGradMode no_grad{false};
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        gradients_[i] = parameters_[i].grad();
    }
    const double rate = learning_rate();
    if (settings_.kind == OptimizerKind::adamw) {
        for (at::Tensor& count : counts_) {
            *count.mutable_data_ptr<float>() += 1.0F; // exact up to 2^24 steps, where the correction is 1 anyway
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
