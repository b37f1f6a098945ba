/// Products in bf16 and the linear layer that is made of them, against torch's.
#include "worker/accumulating_linear.h"
#include "worker/bf16_product.h"
#include "worker/dropout.h"
#include "worker/own_operators.h"
#include "worker/program.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include <optional>

namespace muster::worker {
namespace {

/// Skipped where the processor cannot do it.
class Bf16Product : public testing::Test {
protected:
    void SetUp() override {
        if (!Processor::here().bf16) {
            GTEST_SKIP() << "this processor has no AVX512_BF16";
        }
    }
};

class Bf16Linear : public Bf16Product {};

at::Tensor numbers(at::IntArrayRef sizes, double seed) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes) {
        count *= size;
    }
    return at::sin(at::arange(count, at::kDouble) * 1.7 + seed).to(at::kFloat).view(sizes);
}

/// The same numbers, columns beside each other.
at::Tensor turned(const at::Tensor& matrix) {
    return matrix.t().contiguous().t();
}

at::Tensor reference(const at::Tensor& left, const at::Tensor& right) {
    const auto round = [](const at::Tensor& side) { return side.to(at::kBFloat16).to(at::kDouble); };
    return at::mm(round(left), round(right));
}

double largest_difference(const at::Tensor& left, const at::Tensor& right) {
    return (left.to(at::kDouble) - right).abs().max().item<double>();
}

struct Sizes {
    std::int64_t rows;
    std::int64_t depth;
    std::int64_t columns;
};

constexpr Sizes all_sizes[] = {
    {1, 1, 1}, {5, 7, 3}, {12, 32, 32}, {13, 33, 47}, {130, 65, 33}, {4, 1100, 40}, {30, 40, 2100}, {121, 513, 16}};

TEST_F(Bf16Product, is_that_of_rounded_numbers_with_sums_in_fp32_however_they_lie) {
    for (const auto& [rows, depth, columns] : all_sizes) {
        const at::Tensor left = numbers({rows, depth}, 0.1);
        const at::Tensor right = numbers({depth, columns}, 0.2);
        const at::Tensor bias = numbers({columns}, 0.3);
        const at::Tensor wanted = reference(left, right);
        const double close = 1e-6 * static_cast<double>(depth);
        SCOPED_TRACE(testing::Message() << rows << " x " << depth << " x " << columns);
        const at::Tensor product = bf16_product(left, right);
        EXPECT_LT(largest_difference(product, wanted), close);
        EXPECT_TRUE(bf16_product(turned(left), right).equal(product));
        EXPECT_TRUE(bf16_product(left, turned(right)).equal(product));
        EXPECT_TRUE(bf16_product(turned(left), turned(right)).equal(product));
        EXPECT_LT(largest_difference(bf16_product(left, right, bias), wanted + bias), close + 1e-6);
        at::Tensor sum = numbers({rows, columns}, 0.4);
        const at::Tensor before = sum.clone();
        add_bf16_product(sum, left, right);
        EXPECT_LT(largest_difference(sum, wanted + before), close + 1e-6);
    }
}

TEST_F(Bf16Product, takes_gaps_and_repeats) {
    const at::Tensor left = numbers({20, 60}, 0.1).slice(1, 0, 60, 3);
    const at::Tensor right = numbers({1, 1}, 0.2).expand({20, 24});
    EXPECT_LT(largest_difference(bf16_product(left, right), reference(left, right)), 1e-4);
}

TEST_F(Bf16Product, of_a_row_depends_neither_on_other_rows_nor_on_threads) {
    const at::Tensor left = numbers({300, 700}, 0.1);
    const at::Tensor right = numbers({700, 70}, 0.2);
    prepare_thread(1);
    const at::Tensor whole = bf16_product(left, right);
    EXPECT_TRUE(bf16_product(left.slice(0, 77, 200), right).equal(whole.slice(0, 77, 200)));
    prepare_thread(2);
    EXPECT_TRUE(bf16_product(left, right).equal(whole));
    prepare_thread(1);
}

TEST_F(Bf16Product, of_nothing_is_zero) {
    const at::Tensor bias = numbers({3}, 0.3);
    EXPECT_EQ(bf16_product(numbers({0, 4}, 0), numbers({4, 3}, 0), bias).sizes(), (at::IntArrayRef{0, 3}));
    EXPECT_TRUE(bf16_product(numbers({2, 0}, 0), numbers({0, 3}, 0)).equal(at::zeros({2, 3})));
    EXPECT_TRUE(bf16_product(numbers({2, 0}, 0), numbers({0, 3}, 0), bias).equal(bias.expand({2, 3})));
    at::Tensor sum = at::ones({2, 3});
    add_bf16_product(sum, numbers({2, 0}, 0), numbers({0, 3}, 0));
    EXPECT_TRUE(sum.equal(at::ones({2, 3})));
}

struct Layer {
    at::Tensor weight{numbers({48, 64}, 0.5).requires_grad_(true)};
    at::Tensor bias{numbers({48}, 0.6).requires_grad_(true)};
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

at::Tensor flat(const at::Tensor& rows) {
    return rows.reshape({-1, rows.size(-1)});
}

/// That `found` is left x right in bf16, and as near to the product in fp32 as rounding each factor by 2^-9 leaves it.
void expect_product(const at::Tensor& found, const at::Tensor& left, const at::Tensor& right, const at::Tensor& more) {
    EXPECT_LT(largest_difference(found, reference(left, right) + more), 1e-4);
    const at::Tensor exact = at::mm(left.to(at::kDouble), right.to(at::kDouble)) + more;
    const at::Tensor bound = at::mm(left.abs(), right.abs()) * (2.0 / 512.0) + 1e-4;
    EXPECT_TRUE((found - exact).abs().le(bound).all().item<bool>());
    EXPECT_GT(largest_difference(found, exact), 1e-4) << "it was not computed in bf16";
}

TEST_F(Bf16Linear, gives_numbers_and_gradients_near_those_of_fp32) {
    for (const bool adds : {false, true}) {
        const DropoutScope training{1, 1, 0};
        std::optional<AccumulationScope> scope;
        if (adds) {
            scope.emplace();
        }
        Layer layer{bf16_linear()};
        const at::Tensor weight = layer.weight.detach();
        at::Tensor weight_before = at::zeros({48, 64});
        at::Tensor bias_wanted = at::zeros({48});
        const void* gradient = nullptr;
        for (int micro = 0; micro < 3; ++micro) {
            const at::Tensor x = numbers({3, 11, 64}, micro).requires_grad_(true);
            const at::Tensor y = layer(x);
            ASSERT_EQ(y.sizes(), (at::IntArrayRef{3, 11, 48}));
            expect_product(flat(y.detach()), flat(x.detach()), weight.t(), layer.bias.detach());
            const at::Tensor factor = numbers({3, 11, 48}, 0.7 + micro); // and the gradient of y
            (y * factor).sum().backward();
            expect_product(flat(x.grad()), flat(factor), weight, at::zeros({1}));
            expect_product(layer.weight.grad(), flat(factor).t(), flat(x.detach()), weight_before);
            bias_wanted += flat(factor).sum(0);
            EXPECT_TRUE(at::allclose(layer.bias.grad(), bias_wanted, 1e-5, 1e-6)) << "a sum, no product";
            if (adds && micro > 0) {
                EXPECT_EQ(layer.weight.grad().const_data_ptr(), gradient) << "nothing new was made";
            }
            gradient = layer.weight.grad().const_data_ptr();
            weight_before = layer.weight.grad().clone();
        }
    }
}

TEST_F(Bf16Linear, is_torchs_where_nothing_is_trained) {
    const at::NoGradGuard no_grad;
    const at::Tensor x = numbers({3, 11, 64}, 0);
    EXPECT_TRUE(Layer{bf16_linear()}(x).equal(Layer{"torch.linear"}(x)));
}

} // namespace
} // namespace muster::worker
