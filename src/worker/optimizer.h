/// AdamW and SGD with PyTorch's arithmetic, through its fused CPU kernels.
#pragma once

#include "model/recipe.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace muster::worker {

/// Changes parameters by their gradients. Equal to torch.optim.AdamW (betas 0.9 and 0.999, eps 1e-8) and
/// torch.optim.SGD with the recipe's settings. Before each step gradients are clipped as torch.nn.utils.clip_grad_norm_
/// does, in place: they must be those of the whole batch, summed over all members. One thread at a time.
class Optimizer {
public:
    /// `steps` is the length of the training. The learning rate rises over the warm-up as LinearLR does from
    /// 1 / warm_up on; then it stays, or falls as CosineAnnealingLR does with T_max = steps - warm_up.
    Optimizer(const RecipeOptimizer& settings, std::vector<at::Tensor> parameters, std::int64_t steps);

    /// Makes one step. Every parameter must have a gradient. `whole_norm`: the norm of the whole model's gradient,
    /// where these parameters are only a part of it.
    void step(std::optional<double> whole_norm = {});
    /// The sum of squares of these parameters' gradients; 0, when nobody clips by it.
    [[nodiscard]] double squares_of_gradients() const;
    /// Bytes of what is kept from step to step besides the parameters.
    [[nodiscard]] std::int64_t state_bytes() const;
    /// Learning rate of the next step.
    [[nodiscard]] double learning_rate() const;

private:
    void clip(std::optional<double> whole_norm);

    RecipeOptimizer settings_;
    std::int64_t steps_;
    std::int64_t done_{0};
    std::vector<at::Tensor> parameters_;
    std::vector<at::Tensor> gradients_;
    std::vector<at::Tensor> first_;  ///< AdamW: mean of gradients; SGD: momentum
    std::vector<at::Tensor> second_; ///< AdamW: mean of squared gradients
    std::vector<at::Tensor> counts_; ///< AdamW: steps done, one scalar for each parameter
};

} // namespace muster::worker
