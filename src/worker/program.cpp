#include "worker/program.h"

#include "base/digest.h"
#include "base/fd.h"
#include "worker/archive.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <fcntl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <mutex>
#include <system_error>

namespace muster::worker {
namespace {

constexpr std::size_t hidden_layers_max = 64;
constexpr std::int64_t hidden_units_max = 65'536;

at::ScalarType scalar_type(const Recipe& recipe) {
    return recipe.number_type == NumberType::fp64 ? at::kDouble : at::kFloat;
}

Error misfit(const char* where, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), where};
}

/// Checks that loss and target belong together, which the recipe alone cannot tell.
Result<void> check_fit(const Recipe& recipe, const Preprocessing& preprocessing) {
    const TargetColumn& target = preprocessing.target;
    const bool regression = task_of(recipe) == TaskKind::regression;
    if (regression != (target.kind == ColumnKind::number)) {
        return misfit("/loss",
                      "the target \"" + target.name + "\" holds " + (regression ? "categories" : "numbers") +
                          ", which this loss cannot train");
    }
    if (!regression && target.categories.size() < 2) {
        return misfit("/data/target", "the target \"" + target.name + "\" has fewer than two classes");
    }
    if (recipe.loss == Loss::binary_cross_entropy && target.categories.size() != 2) {
        return misfit("/loss",
                      "binary_cross_entropy needs two classes, the target \"" + target.name + "\" has " +
                          std::to_string(target.categories.size()) + "; cross_entropy takes any number");
    }
    if (preprocessing.encoded_columns() < 1) {
        return misfit("/data", "no input columns are left");
    }
    const auto& hidden = recipe.model.hidden;
    if (hidden.size() > hidden_layers_max ||
        std::ranges::any_of(hidden, [](std::int64_t units) { return units < 1 || units > hidden_units_max; })) {
        return misfit("/model/hidden", "at most 64 hidden layers of 1 to 65536 units each");
    }
    return {};
}

/// Layer i computes weight_i, bias_i; relu between layers.
torch::jit::Module build_mlp(const Recipe& recipe, std::int64_t columns, std::int64_t outputs) {
    torch::jit::Module module{"__torch__.muster.Mlp"};
    auto generator = at::detail::createCPUGenerator(recipe.seed);
    std::vector<std::int64_t> widths{columns};
    widths.insert(widths.end(), recipe.model.hidden.begin(), recipe.model.hidden.end());
    widths.push_back(outputs);
    std::string source = "def forward(self, x: Tensor) -> Tensor:\n";
    for (std::size_t layer = 0; layer + 1 < widths.size(); ++layer) {
        const std::string number = std::to_string(layer);
        const double bound = 1.0 / std::sqrt(static_cast<double>(widths[layer]));
        // Drawn in fp64 and rounded, so that fp32 and fp64 start from the same weights.
        const auto draw = [&](at::IntArrayRef shape) {
            return at::empty(shape, at::kDouble).uniform_(-bound, bound, generator).to(scalar_type(recipe));
        };
        const at::Tensor weight = draw({widths[layer + 1], widths[layer]});
        const at::Tensor bias = draw({widths[layer + 1]});
        module.register_parameter("weight_" + number, weight.requires_grad_(true), false);
        module.register_parameter("bias_" + number, bias.requires_grad_(true), false);
        const std::string linear = "torch.linear(x, self.weight_" + number + ", self.bias_" + number + ")";
        const bool last = layer + 2 == widths.size();
        source += last ? "    return " + linear + "\n" : "    x = torch.relu_(" + linear + ")\n";
    }
    module.define(source);
    return module;
}

} // namespace

void prepare_thread(int threads) {
    torch::jit::setGraphExecutorOptimize(false);
    at::set_num_threads(std::max(1, threads));
    // May be set only once in a process.
    static std::once_flag once;
    std::call_once(once, [] {
        if (at::get_num_interop_threads() != 1) {
            at::set_num_interop_threads(1);
        }
    });
}

struct ModelProgram::State {
    torch::jit::Module module;
    Recipe recipe;
    Preprocessing preprocessing;
    std::vector<at::Tensor> parameters;
};

ModelProgram::ModelProgram(std::unique_ptr<State> state) : state_{std::move(state)} {}
ModelProgram::~ModelProgram() = default;
ModelProgram::ModelProgram(ModelProgram&&) noexcept = default;
ModelProgram& ModelProgram::operator=(ModelProgram&&) noexcept = default;

Result<ModelProgram> ModelProgram::build(const Recipe& recipe, const Preprocessing& preprocessing) {
    if (auto fit = check_fit(recipe, preprocessing); !fit) {
        return std::move(fit).error();
    }
    if (recipe.model.family != "mlp") {
        return not_allowed("/model/family", recipe.model.family, {"mlp"});
    }
    auto state = std::make_unique<State>(
        State{build_mlp(recipe, preprocessing.encoded_columns(), preprocessing.outputs()), recipe, preprocessing, {}});
    for (const at::Tensor& parameter : state->module.parameters()) {
        state->parameters.push_back(parameter);
    }
    return ModelProgram{std::move(state)};
}

at::Tensor ModelProgram::forward(const at::Tensor& rows) {
    return state_->module.forward({rows}).toTensor();
}

at::Tensor ModelProgram::finish(const at::Tensor& outputs) const {
    const at::Tensor wide = outputs.to(at::kDouble);
    if (task_of(state_->recipe) == TaskKind::regression) {
        return wide * state_->preprocessing.target.scale + state_->preprocessing.target.mean;
    }
    return wide.size(1) == 1 ? at::sigmoid(wide) : at::softmax(wide, 1);
}

const std::vector<at::Tensor>& ModelProgram::parameters() const {
    return state_->parameters;
}

std::int64_t ModelProgram::parameter_count() const {
    std::int64_t count = 0;
    for (const at::Tensor& parameter : state_->parameters) {
        count += parameter.numel();
    }
    return count;
}

std::int64_t ModelProgram::parameter_bytes() const {
    return parameter_count() * (state_->recipe.number_type == NumberType::fp64 ? 8 : 4);
}

std::string ModelProgram::parameters_digest() const {
    Sha256 digest;
    for (const at::Tensor& parameter : state_->parameters) {
        digest.update({static_cast<const std::byte*>(parameter.const_data_ptr()), parameter.nbytes()});
    }
    return digest.finish_hex();
}

void ModelProgram::export_archive(int fd) const {
    write_archive(state_->module, state_->recipe, state_->preprocessing, fd);
}

void ModelProgram::export_archive(const std::filesystem::path& path) const {
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file.valid()) {
        throw std::system_error{errno, std::generic_category(), "open " + path.string()};
    }
    export_archive(file.get());
}

} // namespace muster::worker
