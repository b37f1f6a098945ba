#include "worker/accumulating_linear.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace muster::worker {
namespace {

thread_local bool accumulates = false;

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Adds the gradient where there is one; else it is the answer.
Variable weight_gradient(const Variable& weight, const at::Tensor& outputs, const at::Tensor& inputs) {
    if (weight.grad().defined()) {
        weight.mutable_grad().addmm_(outputs.t(), inputs);
        return {};
    }
    return at::mm(outputs.t(), inputs);
}

Variable bias_gradient(const Variable& bias, const at::Tensor& outputs) {
    const at::Tensor sum = outputs.sum(0);
    if (bias.grad().defined()) {
        bias.mutable_grad().add_(sum);
        return {};
    }
    return sum;
}

struct AccumulatingLinear : torch::autograd::Function<AccumulatingLinear> {
    // Names and forms are torch's.
    static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight, const Variable& bias) {
        context->save_for_backward({x, weight, bias});
        return at::linear(x, weight, bias);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const Variable& weight = saved[1];
        const at::Tensor outputs = gradients[0].reshape({-1, weight.size(0)});
        const at::Tensor inputs = saved[0].reshape({-1, weight.size(1)});
        Variable x;
        if (context->needs_input_grad(0)) {
            x = at::mm(outputs, weight).view_as(saved[0]);
        }
        return {x, weight_gradient(weight, outputs, inputs), bias_gradient(saved[2], outputs)};
    }
};

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return accumulates ? AccumulatingLinear::apply(x, weight, bias) : at::linear(x, weight, bias);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(muster, library) {
    library.def("linear(Tensor x, Tensor weight, Tensor bias) -> Tensor", &linear);
}

const char* accumulating_linear() {
    return "muster.linear";
}

AccumulationScope::AccumulationScope() : before_{accumulates} {
    accumulates = true;
}

AccumulationScope::~AccumulationScope() {
    accumulates = before_;
}

} // namespace muster::worker
