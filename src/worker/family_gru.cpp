#include "worker/dropout.h"
#include "worker/families.h"
#include "worker/own_operators.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <fmt/format.h>

#include <cmath>
#include <string>

namespace muster::worker {
namespace {

constexpr std::int64_t gates = 3; // reset, update, new: torch's order

} // namespace

torch::jit::Module build_gru(const Recipe& recipe, std::int64_t columns, std::int64_t outputs, Weights weights) {
    torch::jit::Module module{"__torch__.muster.Gru"};
    auto generator = at::detail::createCPUGenerator(recipe.seed);
    const std::int64_t width = recipe.model.width;
    const double bound = 1.0 / std::sqrt(static_cast<double>(width));
    const auto add = [&](const std::string& name, at::IntArrayRef shape, double reach) {
        const bool drawn = weights == Weights::drawn;
        at::Tensor values = at::empty(
            shape, drawn ? at::TensorOptions{at::kDouble} : at::TensorOptions{scalar_type(recipe)}.device(at::kMeta));
        if (drawn) {
            values.uniform_(-reach, reach, generator);
        }
        module.register_parameter(name, values.to(scalar_type(recipe)).requires_grad_(true), false);
    };
    std::string source = "def forward(self, x: Tensor) -> Tensor:\n"
                         "    newest = x.select(1, x.size(1) - 1)\n"
                         "    start = torch.zeros([1, x.size(0), self.width], dtype=x.dtype, device=x.device)\n";
    for (std::int64_t layer = 0; layer < recipe.model.layers; ++layer) {
        const std::string end = fmt::format("_l{}", layer);
        add("weight_ih" + end, {gates * width, layer == 0 ? columns : width}, bound);
        add("weight_hh" + end, {gates * width, width}, bound);
        add("bias_ih" + end, {gates * width}, bound);
        add("bias_hh" + end, {gates * width}, bound);
        source += fmt::format("    states, last = torch.gru(x, start, [self.weight_ih{0}, self.weight_hh{0}, "
                              "self.bias_ih{0}, self.bias_hh{0}], True, 1, 0.0, False, False, True)\n",
                              end);
        if (layer + 1 < recipe.model.layers) {
            source += "    x = " + dropout_call("states", layer, recipe.model.dropout) + "\n";
        }
    }
    source += "    state = " + dropout_call("last.select(0, 0)", recipe.model.layers - 1, recipe.model.dropout) + "\n" +
              "    return torch.linear(state, self.head_weight, self.head_bias) + torch.linear(newest, "
              "self.newest_weight)\n";
    add("head_weight", {outputs, width}, bound);
    add("newest_weight", {outputs, columns}, 0.0);
    add("head_bias", {outputs}, bound);
    module.register_attribute("layers", c10::IntType::get(), recipe.model.layers);
    module.register_attribute("width", c10::IntType::get(), width);
    module.define(source, operator_resolver());
    return module;
}

} // namespace muster::worker
