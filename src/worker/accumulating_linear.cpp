#include "worker/accumulating_linear.h"

#include "worker/bf16_product.h"
#include "worker/dropout.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdint>
#include <vector>

namespace muster::worker {
namespace {

thread_local bool accumulates = false;

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// In the number type of the tensors.
struct PlainProducts {
    static at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        return at::linear(x, weight, bias);
    }
    static at::Tensor product(const at::Tensor& left, const at::Tensor& right) { return at::mm(left, right); }
    static void add_product(at::Tensor& sum, const at::Tensor& left, const at::Tensor& right) {
        sum.addmm_(left, right);
    }
};

/// On the processor by a kernel of ours; a GPU's own take and give bf16 and sum in fp32.
struct Bf16Products {
    static at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        if (!x.is_cpu()) {
            return at::linear(x.to(at::kBFloat16), weight.to(at::kBFloat16), bias.to(at::kBFloat16)).to(at::kFloat);
        }
        std::vector<std::int64_t> sizes = x.sizes().vec();
        sizes.back() = weight.size(0);
        // Not a view: in-place functions may follow.
        return at::_unsafe_view(bf16_product(x.reshape({-1, weight.size(1)}), weight.t(), bias), sizes);
    }
    static at::Tensor product(const at::Tensor& left, const at::Tensor& right) {
        return left.is_cpu() ? bf16_product(left, right) : rounded_product(left, right);
    }
    static void add_product(at::Tensor& sum, const at::Tensor& left, const at::Tensor& right) {
        if (sum.is_cpu()) {
            add_bf16_product(sum, left, right);
        } else {
            sum.add_(rounded_product(left, right));
        }
    }

private:
    static at::Tensor rounded_product(const at::Tensor& left, const at::Tensor& right) {
        return at::mm(left.to(at::kBFloat16), right.to(at::kBFloat16)).to(at::kFloat);
    }
};

constexpr const char* in_place = "in_place"; ///< in a context: whether gradients are added to those that are there

template <typename Products>
struct Linear : torch::autograd::Function<Linear<Products>> {
    // Names and forms are torch's.
    static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight, const Variable& bias) {
        context->save_for_backward({x, weight, bias});
        context->saved_data[in_place] = accumulates;
        return Products::linear(x, weight, bias);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const Variable& weight = saved[1];
        const at::Tensor outputs = gradients[0].reshape({-1, weight.size(0)});
        const at::Tensor inputs = saved[0].reshape({-1, weight.size(1)});
        const bool adds = context->saved_data[in_place].toBool();
        Variable x;
        if (context->needs_input_grad(0)) {
            x = Products::product(outputs, weight).view_as(saved[0]);
        }
        return {x, weight_gradient(weight, outputs, inputs, adds), bias_gradient(saved[2], outputs, adds)};
    }

private:
    /// Adds the gradient where there is one; else it is the answer.
    static Variable
    weight_gradient(const Variable& weight, const at::Tensor& outputs, const at::Tensor& inputs, bool adds) {
        if (adds && weight.grad().defined()) {
            Products::add_product(weight.mutable_grad(), outputs.t(), inputs);
            return {};
        }
        return Products::product(outputs.t(), inputs);
    }
    static Variable bias_gradient(const Variable& bias, const at::Tensor& outputs, bool adds) {
        const at::Tensor sum = outputs.sum(0);
        if (adds && bias.grad().defined()) {
            bias.mutable_grad().add_(sum);
            return {};
        }
        return sum;
    }
};

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return accumulates ? Linear<PlainProducts>::apply(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor linear_in_bf16(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return DropoutScope::is_alive() ? Linear<Bf16Products>::apply(x, weight, bias) : at::linear(x, weight, bias);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(muster, library) {
    library.def("linear(Tensor x, Tensor weight, Tensor bias) -> Tensor", &linear);
    library.def("linear_bf16(Tensor x, Tensor weight, Tensor bias) -> Tensor", &linear_in_bf16);
}

const char* accumulating_linear() {
    return "muster.linear";
}

const char* bf16_linear() {
    return "muster.linear_bf16";
}

AccumulationScope::AccumulationScope() : before_{accumulates} {
    accumulates = true;
}

AccumulationScope::~AccumulationScope() {
    accumulates = before_;
}

} // namespace muster::worker
