#include "worker/user_model_probe.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

at::Tensor run(jit::Module& module, const at::Tensor& input, RunWatch* watch) {
    const RunWatch::Running running{watch};
    return module.forward({input}).toTensor();
}

/// What is wrong with an output whatever its shape; empty: nothing.
std::string flaw_of(const at::Tensor& output, const ProbeOrder& order) {
    if (!output.defined() || !output.device().is_cpu() || output.layout() != at::kStrided) {
        return "gives no dense tensor on the CPU";
    }
    if (output.scalar_type() != order.type) {
        return fmt::format(
            "gives {}, needs {} as its parameters", c10::toString(output.scalar_type()), c10::toString(order.type));
    }
    if (output.dim() < 1 || output.size(0) != order.rows.size(0)) {
        return fmt::format("gives {}, needs [{}, ...]: one for each row", output.sizes(), order.rows.size(0));
    }
    return at::isfinite(output).all().item<bool>() ? "" : "gives numbers that are not finite";
}

/// Backward through one module; adds what is wrong with its gradients.
void go_back(const jit::Module& module,
             const std::string& prefix,
             const at::Tensor& output,
             std::vector<std::string>& problems) {
    if (output.requires_grad()) {
        output.backward(at::ones_like(output));
    }
    for (const auto& parameter : module.named_parameters()) {
        const at::Tensor gradient = parameter.value.grad();
        if (!gradient.defined()) {
            problems.push_back(fmt::format("the parameter {}{} gets no gradient; use it in forward(), or make it a "
                                           "buffer",
                                           prefix,
                                           parameter.name));
        } else if (!at::isfinite(gradient).all().item<bool>()) {
            problems.push_back(fmt::format("the gradient of {}{} is not finite", prefix, parameter.name));
        }
        parameter.value.mutable_grad().reset();
    }
}

/// Outputs of the whole for both rows, after a backward pass. The problem that ends it is the last one.
at::Tensor probe_whole(jit::Module& root, const ProbeOrder& order, ProbeResult& result) {
    const at::Tensor output = run(root, order.rows, order.watch);
    if (const std::string flaw = flaw_of(output, order); !flaw.empty()) {
        result.problems.push_back("the model " + flaw);
        return {};
    }
    go_back(root, "", output, result.problems);
    return output.detach();
}

at::Tensor probe_layers(std::vector<jit::Module>& layers, const ProbeOrder& order, ProbeResult& result) {
    at::Tensor flow = order.rows;
    for (std::size_t position = 0; position < layers.size(); ++position) {
        const std::string name = fmt::format("layers.{}", position);
        at::Tensor input = flow.detach();
        if (input.is_floating_point()) {
            input.requires_grad_(true);
        }
        const at::Tensor output = run(layers[position], input, order.watch);
        if (const std::string flaw = flaw_of(output, order); !flaw.empty()) {
            result.problems.push_back(fmt::format("{} {}", name, flaw));
            return {};
        }
        go_back(layers[position], name + ".", output, result.problems);
        if (input.requires_grad() && !input.grad().defined()) {
            result.problems.push_back(name + " passes no gradient back to the layer before it");
        }
        result.sizes.push_back(output.sizes().slice(1).vec());
        flow = output.detach();
    }
    return flow;
}

at::Tensor run_all(jit::Module& root, const at::Tensor& rows, RunWatch* watch) {
    const c10::AutoGradMode no_grad{false};
    return run(root, rows, watch);
}

/// That rows do not look at each other: the batch is shared among functions.
void compare_alone(jit::Module& root, const at::Tensor& together, const ProbeOrder& order, ProbeResult& result) {
    const double tolerance = order.type == at::kDouble ? 1e-9 : 1e-4;
    for (std::int64_t row = 0; row < order.rows.size(0); ++row) {
        const at::Tensor alone = run_all(root, order.rows.narrow(0, row, 1), order.watch);
        const at::Tensor expected = together.narrow(0, row, 1);
        if (alone.sizes() != expected.sizes() || !at::allclose(alone, expected, tolerance, tolerance)) {
            result.problems.emplace_back("the model gives another result for a row alone than for the same row beside "
                                         "another one; each row has to count for itself");
            return;
        }
    }
}

} // namespace

ProbeResult probe_model(jit::Module root, const std::vector<jit::Module>& layers, const ProbeOrder& order) {
    ProbeResult result;
    std::vector<jit::Module> parts = layers;
    const at::Tensor together = parts.empty() ? probe_whole(root, order, result) : probe_layers(parts, order, result);
    if (!together.defined()) {
        return result;
    }
    std::vector<std::int64_t> wanted{order.rows.size(0), order.outputs};
    if (!order.rows.is_floating_point()) {
        wanted.insert(wanted.begin() + 1, order.rows.size(1)); // of a text, each token
    }
    if (together.sizes() != at::IntArrayRef{wanted}) {
        result.problems.push_back(
            fmt::format("the model gives {}, needs [{}]", together.sizes(), fmt::join(wanted, ", ")));
        return result;
    }
    if (!parts.empty() && !run_all(root, order.rows, order.watch).equal(together)) {
        result.problems.emplace_back("forward() gives something else than its layers one after the other");
    }
    compare_alone(root, together, order, result);
    return result;
}

} // namespace muster::worker
