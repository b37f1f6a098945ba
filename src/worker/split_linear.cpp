#include "worker/split_linear.h"

#include <ATen/Functions.h>
#include <ATen/ops/linear_native.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace muster::worker {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// y = linear(x); backward gives the gradient of x alone.
struct InputPart : torch::autograd::Function<InputPart> {
    static at::Tensor
    forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
        context->save_for_backward({weight});
        return at::native::linear(input, weight, bias);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        return {gradients[0].mm(context->get_saved_variables()[0]), {}, {}};
    }
};

/// Gives y again; backward hands its gradient on and gives those of weight and bias. Gradients of parameters are
/// accumulated, and so sent, before any other node runs.
struct ParameterPart : torch::autograd::Function<ParameterPart> {
    static at::Tensor forward(AutogradContext* context,
                              const at::Tensor& output,
                              const at::Tensor& input,
                              const at::Tensor& /*weight*/,
                              const at::Tensor& bias) {
        context->save_for_backward({input});
        context->saved_data["bias"] = bias.defined();
        // The same memory, but no view: the next layer may work in place.
        return at::empty({0}, output.options())
            .set_(output.storage(), output.storage_offset(), output.sizes(), output.strides());
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const at::Tensor& output = gradients[0];
        const at::Tensor input = context->get_saved_variables()[0];
        const at::Tensor bias = context->saved_data["bias"].toBool() ? output.sum(0) : at::Tensor{};
        return {output, {}, output.t().mm(input), bias};
    }
};

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
    const bool split = c10::GradMode::is_enabled() && input.dim() == 2 && input.requires_grad() &&
                       weight.requires_grad() && weight.dim() == 2;
    if (!split) {
        return at::native::linear(input, weight, bias);
    }
    const at::Tensor offset = bias.value_or(at::Tensor{});
    const at::Tensor output =
        InputPart::apply(input, weight.detach(), offset.defined() ? offset.detach() : at::Tensor{});
    return ParameterPart::apply(output, input.detach(), weight, offset);
}

} // namespace

void split_linear_backward() {
    static torch::Library library = [] {
        torch::Library made{torch::Library::IMPL, "aten", c10::DispatchKey::AutogradCPU, __FILE__, __LINE__};
        made.impl("linear", linear);
        return made;
    }();
}

} // namespace muster::worker
