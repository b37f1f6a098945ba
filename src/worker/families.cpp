#include "worker/families.h"

#include "worker/accumulating_linear.h"
#include "worker/dropout.h"
#include "worker/own_operators.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <cmath>
#include <string>
#include <vector>

namespace muster::worker {

at::ScalarType scalar_type(const Recipe& recipe) {
    return recipe.number_type == NumberType::fp64 ? at::kDouble : at::kFloat;
}

// Layer i computes weight_i, bias_i; relu between layers.
torch::jit::Module build_mlp(const Recipe& recipe, std::int64_t columns, std::int64_t outputs, Weights weights) {
    torch::jit::Module module{"__torch__.muster.Mlp"};
    auto generator = at::detail::createCPUGenerator(recipe.seed);
    std::vector<std::int64_t> widths{columns};
    widths.insert(widths.end(), recipe.model.hidden.begin(), recipe.model.hidden.end());
    widths.push_back(outputs);
    const bool in_bf16 = recipe.number_type == NumberType::bf16 && weights == Weights::drawn;
    const std::string operation = in_bf16 ? bf16_linear() : "torch.linear";
    std::string source = "def forward(self, x: Tensor) -> Tensor:\n";
    for (std::size_t layer = 0; layer + 1 < widths.size(); ++layer) {
        const std::string number = std::to_string(layer);
        const double bound = 1.0 / std::sqrt(static_cast<double>(widths[layer]));
        // Drawn in fp64 and rounded, so that fp32 and fp64 start from the same weights.
        const auto draw = [&](at::IntArrayRef shape) {
            if (weights == Weights::absent) {
                return at::empty(shape, at::TensorOptions{scalar_type(recipe)}.device(at::kMeta));
            }
            return at::empty(shape, at::kDouble).uniform_(-bound, bound, generator).to(scalar_type(recipe));
        };
        const at::Tensor weight = draw({widths[layer + 1], widths[layer]});
        const at::Tensor bias = draw({widths[layer + 1]});
        module.register_parameter("weight_" + number, weight.requires_grad_(true), false);
        module.register_parameter("bias_" + number, bias.requires_grad_(true), false);
        const std::string linear = operation + "(x, self.weight_" + number + ", self.bias_" + number + ")";
        const bool last = layer + 2 == widths.size();
        const std::string relu = "torch.relu_(" + linear + ")";
        source += last ? "    return " + linear + "\n"
                       : "    x = " + dropout_call(relu, static_cast<std::int64_t>(layer), recipe.model.dropout) + "\n";
    }
    module.define(source, operator_resolver());
    return module;
}

std::vector<std::int64_t>
block_output_sizes(const Recipe& recipe, const Preprocessing& preprocessing, std::int64_t position) {
    const bool last = position + 1 == block_count(recipe);
    return {recipe.data.text->sequence, last ? preprocessing.outputs() : recipe.model.width}; // of a transformer
}

void set_parameter(const torch::jit::Module& root, const std::string& name, const at::Tensor& values) {
    torch::jit::Module module = root;
    std::size_t begin = 0;
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', begin)) {
        module = module.attr(name.substr(begin, dot - begin)).toModule();
        begin = dot + 1;
    }
    module.setattr(name.substr(begin), values);
}

torch::jit::Module build_for_use(const Recipe& recipe, const Preprocessing& preprocessing) {
    Recipe used = recipe;
    used.model.dropout = 0.0;
    return build_family(used, preprocessing, Weights::absent);
}

torch::jit::Module
build_family(const Recipe& recipe, const Preprocessing& preprocessing, Weights weights, const ModelStage& stage) {
    if (recipe.model.family == "transformer") {
        return build_transformer(recipe, preprocessing.outputs(), weights, stage);
    }
    const auto build = recipe.model.family == "gru" ? build_gru : build_mlp;
    return build(recipe, preprocessing.encoded_columns(), preprocessing.outputs(), weights);
}

} // namespace muster::worker
