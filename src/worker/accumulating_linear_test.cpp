#include "worker/accumulating_linear.h"
#include "worker/own_operators.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <string>
#include <vector>

namespace muster::worker {
namespace {

struct Layer {
    at::Tensor weight{at::sin(at::arange(12, at::kDouble)).view({3, 4}).requires_grad_(true)};
    at::Tensor bias{at::arange(3, at::kDouble).requires_grad_(true)};
    torch::jit::Module module{"__torch__.Layer"};

    explicit Layer(const std::string& operation) {
        module.register_parameter("weight", weight, false);
        module.register_parameter("bias", bias, false);
        module.define("def forward(self, x: Tensor) -> Tensor:\n    return " + operation +
                          "(x, self.weight, self.bias)\n",
                      operator_resolver());
    }
    at::Tensor operator()(const at::Tensor& x) { return module.forward({x}).toTensor(); }
};

at::Tensor inputs(int number) {
    return at::cos(at::arange(40, at::kDouble) + number).view({2, 5, 4}).requires_grad_(true);
}

TEST(AccumulatingLinear, gives_the_numbers_and_gradients_of_torch_in_place) {
    for (const bool within : {false, true}) {
        std::optional<AccumulationScope> scope;
        if (within) {
            scope.emplace();
        }
        Layer own{accumulating_linear()};
        Layer torchs{"torch.linear"};
        const void* gradient = nullptr;
        for (int micro = 0; micro < 3; ++micro) {
            const at::Tensor x = inputs(micro);
            const at::Tensor same = inputs(micro);
            const at::Tensor y = own(x);
            EXPECT_TRUE(y.equal(torchs(same)));
            y.pow(2).sum().backward();
            torchs(same).pow(2).sum().backward();
            EXPECT_TRUE(at::allclose(own.weight.grad(), torchs.weight.grad(), 1e-13, 1e-15));
            EXPECT_TRUE(at::allclose(own.bias.grad(), torchs.bias.grad(), 1e-13, 1e-15));
            EXPECT_TRUE(x.grad().equal(same.grad()));
            if (within && micro > 0) {
                EXPECT_EQ(own.weight.grad().const_data_ptr(), gradient) << "nothing new was made";
            }
            gradient = own.weight.grad().const_data_ptr();
        }
    }
}

TEST(AccumulatingLinear, leaves_out_the_gradient_of_an_input_that_needs_none) {
    const AccumulationScope scope;
    Layer layer{accumulating_linear()};
    layer(inputs(0).detach()).sum().backward();
    EXPECT_TRUE(layer.weight.grad().defined());
    const at::NoGradGuard no_grad;
    EXPECT_FALSE(layer(inputs(0)).requires_grad());
}

} // namespace
} // namespace muster::worker
