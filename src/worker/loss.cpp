#include "worker/loss.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>

#include <optional>

namespace muster::worker {

namespace {

/// The larger of q (target - output) and (q - 1) (target - output), summed.
at::Tensor pinball_sum(double quantile, const at::Tensor& outputs, const at::Tensor& target) {
    const at::Tensor short_by = target - outputs;
    return at::max(quantile * short_by, (quantile - 1.0) * short_by).sum();
}

at::Tensor class_sum(const LossTerms& loss, const at::Tensor& outputs, const at::Tensor& target) {
    const std::vector<double>& by_class = loss.class_weights;
    if (outputs.size(1) == 1) {
        std::optional<at::Tensor> weights;
        if (!by_class.empty()) {
            weights = target * (by_class.at(1) - by_class.at(0)) + by_class.at(0); // targets are 0 and 1
        }
        return at::binary_cross_entropy_with_logits(outputs, target, weights, {}, at::Reduction::Sum);
    }
    std::optional<at::Tensor> weights;
    if (!by_class.empty()) {
        weights = at::tensor(by_class, at::kDouble).to(outputs.options());
    }
    return at::cross_entropy_loss(outputs, target, weights, at::Reduction::Sum);
}

} // namespace

at::Tensor
loss_part(const LossTerms& loss, const at::Tensor& outputs, const at::Tensor& target, std::int64_t global_rows) {
    if (outputs.dim() == 3) {
        const auto tokens = static_cast<double>(global_rows * outputs.size(1));
        return at::cross_entropy_loss(outputs.flatten(0, 1), target.flatten(), {}, at::Reduction::Sum) / tokens;
    }
    const auto sum = [&] {
        switch (loss.kind) {
        case Loss::l1:
            return at::l1_loss(outputs, target, at::Reduction::Sum);
        case Loss::mse:
            return at::mse_loss(outputs, target, at::Reduction::Sum);
        case Loss::quantile:
            return pinball_sum(loss.quantile, outputs, target);
        case Loss::poisson: // of boosted trees only
        case Loss::cross_entropy:
        case Loss::binary_cross_entropy:
            break;
        }
        return class_sum(loss, outputs, target);
    };
    return sum() / static_cast<double>(global_rows);
}

} // namespace muster::worker
