#include "worker/program.h"

#include "base/digest.h"
#include "base/fd.h"
#include "worker/archive.h"
#include "worker/archive_file.h"
#include "worker/compute_device.h"
#include "worker/families.h"
#include "worker/user_model.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <fcntl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <system_error>

namespace muster::worker {
namespace {

constexpr std::size_t hidden_layers_max = 64;
constexpr std::int64_t hidden_units_max = 65'536;

Error misfit(const char* where, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), where};
}

/// Checks that loss and target belong together, which the recipe alone cannot tell.
Result<void> check_fit(const Recipe& recipe, const Preprocessing& preprocessing) {
    if (recipe.data.text.has_value() != preprocessing.reads_text()) {
        return misfit("/data/text", "the data was not encoded as this recipe reads it");
    }
    if (preprocessing.reads_text()) {
        return {};
    }
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

/// Checks that the model has these blocks.
Result<void> check_stage(const Recipe& recipe, const ModelStage& stage) {
    const std::int64_t blocks = block_count(recipe);
    if (stage.whole() || (stage.first_block >= 0 && stage.blocks > 0 && stage.first_block < blocks &&
                          stage.blocks <= blocks - stage.first_block)) {
        return {};
    }
    return misfit("/model/family",
                  blocks == 0
                      ? "a model of family \"" + recipe.model.family + "\" is no chain of blocks and cannot be cut"
                      : "blocks " + std::to_string(stage.first_block) + " to " + std::to_string(stage.end() - 1) +
                            " are not among the model's " + std::to_string(blocks));
}

Result<torch::jit::Module> build_checked(const Recipe& recipe,
                                         const Preprocessing& preprocessing,
                                         Weights weights,
                                         const ModelStage& stage,
                                         const UserModel* user_model,
                                         const Processor& processor) {
    if (auto able = check_processor(recipe, processor); !able) {
        return std::move(able).error();
    }
    if (auto fit = check_fit(recipe, preprocessing); !fit) {
        return std::move(fit).error();
    }
    if (auto has = check_stage(recipe, stage); !has) {
        return std::move(has).error();
    }
    if (recipe.model.archive) {
        return user_model != nullptr ? user_model->module(weights, stage)
                                     : misfit("/model/archive", "the archive was not handed to this worker");
    }
    return build_family(recipe, preprocessing, weights, stage);
}

/// Gives the model weights on a device in place of its own: Module::to() keeps the tensors and changes what they hold,
/// which torch cannot for every device.
void move_to(at::Device device, const torch::jit::Module& module) {
    for (const auto& parameter : module.named_parameters()) {
        set_parameter(module, parameter.name, parameter.value.detach().to(device).requires_grad_());
    }
}

/// What a user's program throws is its own fault, whatever it says: producers believe what begins like this.
at::Tensor run_users_program(torch::jit::Module& module, const at::Tensor& rows, RunWatch* watch) {
    at::Tensor output;
    const auto ran = judge_archive("the program failed", "/model/archive", [&]() -> Result<void> {
        const RunWatch::Running running{watch};
        output = module.forward({rows}).toTensor();
        return {};
    });
    if (!ran) {
        throw std::runtime_error{"model: " + ran.error().text()};
    }
    return output;
}

} // namespace

std::int64_t ParameterShape::elements() const {
    return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies{});
}

Result<std::vector<ParameterShape>> parameter_shapes(const Recipe& recipe,
                                                     const Preprocessing& preprocessing,
                                                     const ModelStage& stage,
                                                     const UserModel* user_model,
                                                     const Processor& processor) {
    const auto module = build_checked(recipe, preprocessing, Weights::absent, stage, user_model, processor);
    if (!module) {
        return module.error();
    }
    std::vector<ParameterShape> shapes;
    for (const auto& parameter : module->named_parameters()) {
        shapes.push_back({parameter.name, parameter.value.sizes().vec()});
    }
    return shapes;
}

std::int64_t elements_of(const std::vector<ParameterShape>& shapes) {
    std::int64_t elements = 0;
    for (const ParameterShape& shape : shapes) {
        elements += shape.elements();
    }
    return elements;
}

std::int64_t number_bytes(const Recipe& recipe) {
    return recipe.number_type == NumberType::fp64 ? 8 : 4;
}

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
    at::Device device;
    bool is_users;   ///< a program of a user
    RunWatch* watch; ///< told of each run of it; may be null
};

ModelProgram::ModelProgram(std::unique_ptr<State> state) : state_{std::move(state)} {}
ModelProgram::~ModelProgram() = default;
ModelProgram::ModelProgram(ModelProgram&&) noexcept = default;
ModelProgram& ModelProgram::operator=(ModelProgram&&) noexcept = default;

Result<ModelProgram> ModelProgram::build(const Recipe& recipe,
                                         const Preprocessing& preprocessing,
                                         const ModelStage& stage,
                                         const UserModel* user_model,
                                         at::Device device) {
    auto module = build_checked(recipe, preprocessing, Weights::drawn, stage, user_model, processor_of(device));
    if (!module) {
        return std::move(module).error();
    }
    if (!device.is_cpu()) {
        if (recipe.model.archive) {
            return Error{ErrorCode::invalid_argument,
                         "a model that users bring is trained on the processor, not on " + device.str()};
        }
        move_to(device, *module);
    }
    auto state = std::make_unique<State>(State{std::move(*module),
                                               recipe,
                                               preprocessing,
                                               {},
                                               device,
                                               recipe.model.archive.has_value(),
                                               user_model != nullptr ? user_model->watch() : nullptr});
    for (const at::Tensor& parameter : state->module.parameters()) {
        state->parameters.push_back(parameter);
    }
    return ModelProgram{std::move(state)};
}

at::Tensor ModelProgram::forward(const at::Tensor& rows) {
    if (state_->is_users) {
        return run_users_program(state_->module, rows, state_->watch);
    }
    return state_->module.forward({rows}).toTensor();
}

at::Tensor ModelProgram::finish(const at::Tensor& outputs) const {
    const at::Tensor wide = outputs.to(at::kDouble);
    if (task_of(state_->recipe) == TaskKind::regression) {
        return wide * state_->preprocessing.target.scale + state_->preprocessing.target.mean;
    }
    return wide.size(-1) == 1 ? at::sigmoid(wide) : at::softmax(wide, -1);
}

at::Device ModelProgram::device() const {
    return state_->device;
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
    return parameter_count() * number_bytes(state_->recipe);
}

std::string ModelProgram::parameters_digest() const {
    Sha256 digest;
    for (const at::Tensor& trained : state_->parameters) {
        const at::Tensor parameter = trained.detach().cpu();
        digest.update({static_cast<const std::byte*>(parameter.const_data_ptr()), parameter.nbytes()});
    }
    return digest.finish_hex();
}

void ModelProgram::export_archive(int fd) const {
    const c10::AutoGradMode no_grad{false};
    if (state_->is_users) {
        write_archive(state_->module.deepcopy(), state_->recipe, state_->preprocessing, fd);
        return;
    }
    const torch::jit::Module used = build_for_use(state_->recipe, state_->preprocessing);
    for (const auto& parameter : state_->module.named_parameters()) {
        set_parameter(used, parameter.name, parameter.value.detach().cpu());
    }
    write_archive(used, state_->recipe, state_->preprocessing, fd);
}

void ModelProgram::export_archive(const std::filesystem::path& path) const {
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file.valid()) {
        throw std::system_error{errno, std::generic_category(), "open " + path.string()};
    }
    export_archive(file.get());
}

} // namespace muster::worker
