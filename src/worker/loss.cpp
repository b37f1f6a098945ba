#include "worker/loss.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>

namespace muster::worker {

at::Tensor loss_part(Loss loss, const at::Tensor& outputs, const at::Tensor& target, std::int64_t global_rows) {
    if (outputs.dim() == 3) {
        const auto tokens = static_cast<double>(global_rows * outputs.size(1));
        return at::cross_entropy_loss(outputs.flatten(0, 1), target.flatten(), {}, at::Reduction::Sum) / tokens;
    }
    const auto sum = [&] {
        switch (loss) {
        case Loss::l1:
            return at::l1_loss(outputs, target, at::Reduction::Sum);
        case Loss::mse:
            return at::mse_loss(outputs, target, at::Reduction::Sum);
        case Loss::cross_entropy:
        case Loss::binary_cross_entropy:
        case Loss::quantile:
        case Loss::poisson:
            break;
        }
        return outputs.size(1) == 1 ? at::binary_cross_entropy_with_logits(outputs, target, {}, {}, at::Reduction::Sum)
                                    : at::cross_entropy_loss(outputs, target, {}, at::Reduction::Sum);
    };
    return sum() / static_cast<double>(global_rows);
}

} // namespace muster::worker
