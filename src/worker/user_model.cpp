#include "worker/user_model.h"

#include "worker/archive_file.h"
#include "worker/program_check.h"
#include "worker/user_model_probe.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace muster::worker {
namespace {

namespace jit = torch::jit;

constexpr const char* what_fails = "the model's archive cannot be used";
constexpr const char* where = "/model/archive";

const char* type_name(at::ScalarType type) {
    return type == at::kDouble ? "fp64" : "fp32";
}

/// What a copy does with a parameter.
at::Tensor copied(const at::Tensor& parameter, Weights weights) {
    const c10::AutoGradMode no_grad{false};
    const at::Tensor made = weights == Weights::absent
                                ? at::empty(parameter.sizes(), parameter.options().device(at::kMeta))
                                : parameter.clone();
    return made.requires_grad_(true);
}

/// The module with parameters of its own and all else shared.
jit::Module copy_of(const jit::Module& module, Weights weights) {
    const auto type = module.type();
    auto object = c10::ivalue::Object::create(c10::StrongTypePtr(module._ivalue()->compilation_unit(), type),
                                              type->numAttributes());
    for (std::size_t slot = 0; slot < type->numAttributes(); ++slot) {
        const c10::IValue& value = module._ivalue()->getSlot(slot);
        if (value.isModule()) {
            object->setSlot(slot, copy_of(value.toModule(), weights)._ivalue());
        } else if (type->is_parameter(slot) && value.isTensor()) {
            object->setSlot(slot, copied(value.toTensor(), weights));
        } else {
            object->setSlot(slot, value);
        }
    }
    return jit::Module{object};
}

/// Checks the tensors, and gathers what is said of them.
void look_at_tensors(const jit::Module& root, UserModelFacts& facts, std::vector<std::string>& problems) {
    std::map<const void*, std::string> seen;
    std::map<at::ScalarType, std::string> types;
    for (const auto& parameter : root.named_parameters()) {
        const at::Tensor& tensor = parameter.value;
        const bool number = tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble;
        if (!number) {
            problems.push_back(fmt::format("the parameter {} is of type {}; float32 and float64 are trained",
                                           parameter.name,
                                           c10::toString(tensor.scalar_type())));
        } else {
            types.emplace(tensor.scalar_type(), parameter.name);
        }
        if (!tensor.requires_grad()) {
            problems.push_back(fmt::format("the parameter {} does not require a gradient; all parameters are trained, "
                                           "what is to stay as it is has to be a buffer",
                                           parameter.name));
        }
        if (tensor.numel() < 1 || !tensor.is_contiguous()) {
            problems.push_back(fmt::format("the parameter {} is empty or not contiguous", parameter.name));
        }
        if (const auto [at, first] = seen.emplace(tensor.storage().data(), parameter.name); !first) {
            problems.push_back(fmt::format(
                "the parameters {} and {} share memory, which is not supported", at->second, parameter.name));
        }
        facts.parameters += tensor.numel();
        facts.bytes += static_cast<std::int64_t>(tensor.nbytes());
    }
    if (facts.parameters == 0) {
        problems.emplace_back("the model has no parameters to train");
    }
    if (types.size() > 1) {
        problems.push_back(
            fmt::format("the parameter {} is fp32 and {} is fp64; call module.float() or module.double()",
                        types.at(at::kFloat),
                        types.at(at::kDouble)));
    }
    facts.number_type = types.contains(at::kDouble) ? "fp64" : "fp32";
}

} // namespace

Error all_of(const std::vector<std::string>& problems) {
    return {ErrorCode::invalid_argument, fmt::format("{}: {}", what_fails, fmt::join(problems, "; ")), where};
}

struct UserModel::State {
    jit::Module root;
    UserModelFacts facts;
    std::vector<jit::Module> layers;
    std::vector<std::string> names; ///< of the layers in their container
    std::vector<std::vector<std::int64_t>> sizes;
    RunWatch* watch;
};

UserModel::UserModel(std::unique_ptr<State> state) : state_{std::move(state)} {}
UserModel::~UserModel() = default;
UserModel::UserModel(UserModel&&) noexcept = default;
UserModel& UserModel::operator=(UserModel&&) noexcept = default;

Result<UserModel> UserModel::open(int fd, RunWatch* watch) {
    return judge_archive<UserModel>(what_fails, where, [fd, watch]() -> Result<UserModel> {
        const RunWatch::Running running{watch};
        UntrustedArchive archive = read_untrusted_archive(fd);
        archive.root
            .eval(); // it computes in a training what it will afterwards; and what is behind the flag is not run
        ProgramFacts program = check_program(archive);
        UserModelFacts facts;
        look_at_tensors(archive.root, facts, program.problems);
        if (!program.problems.empty()) {
            return all_of(program.problems);
        }
        facts.blocks = std::ssize(program.layers);
        facts.no_chain = std::move(program.no_chain);
        facts.operators = std::move(program.operators);
        auto state =
            std::make_unique<State>(State{archive.root, std::move(facts), std::move(program.layers), {}, {}, watch});
        if (!state->layers.empty()) {
            for (const auto& layer : archive.root.attr("layers").toModule().named_children()) {
                state->names.push_back(layer.name);
            }
        }
        return UserModel{std::move(state)};
    });
}

const UserModelFacts& UserModel::facts() const {
    return state_->facts;
}

RunWatch* UserModel::watch() const {
    return state_->watch;
}

Result<void> UserModel::check_recipe(const Recipe& recipe) const {
    const UserModelFacts& facts = state_->facts;
    if (facts.number_type != type_name(scalar_type(recipe))) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the archive's parameters are {}, the recipe says {}; call module.{}() before saving, "
                                 "or change the recipe",
                                 facts.number_type,
                                 type_name(scalar_type(recipe)),
                                 scalar_type(recipe) == at::kDouble ? "double" : "float"),
                     "/number_type"};
    }
    if (recipe.model.archive && recipe.model.archive->blocks != facts.blocks) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the recipe says {} blocks, the archive has {}{}",
                                 recipe.model.archive->blocks,
                                 facts.blocks,
                                 facts.blocks == 0 ? ": " + facts.no_chain : ""),
                     "/model/archive/blocks"};
    }
    return {};
}

Result<void> UserModel::probe(const Recipe& recipe, const at::Tensor& rows, std::int64_t outputs) {
    return judge_archive(what_fails, where, [&]() -> Result<void> {
        ProbeOrder order{.rows = rows, .outputs = outputs, .type = scalar_type(recipe), .watch = state_->watch};
        auto probed = probe_model(state_->root, state_->layers, order);
        if (!probed.problems.empty()) {
            return all_of(probed.problems);
        }
        state_->sizes = std::move(probed.sizes);
        return {};
    });
}

const std::vector<std::int64_t>& UserModel::output_sizes(std::int64_t position) const {
    return state_->sizes.at(static_cast<std::size_t>(position));
}

Result<jit::Module> UserModel::module(Weights weights, const ModelStage& stage) const {
    if (stage.whole()) {
        return copy_of(state_->root, weights);
    }
    if (stage.first_block < 0 || stage.blocks < 1 || stage.end() > std::ssize(state_->layers)) {
        return Error{ErrorCode::invalid_argument, "the archive has no such layers", where};
    }
    jit::Module layers{"__torch__.muster.Layers"};
    std::string source = "def forward(self, x: Tensor) -> Tensor:\n";
    for (auto position = static_cast<std::size_t>(stage.first_block); position < static_cast<std::size_t>(stage.end());
         ++position) {
        layers.register_module(state_->names[position], copy_of(state_->layers[position], weights));
        source += fmt::format("    x = getattr(self, \"{}\").forward(x)\n", state_->names[position]);
    }
    layers.define(source + "    return x\n");
    jit::Module root{"__torch__.muster.TorchScript"};
    root.register_module("layers", layers);
    root.define("def forward(self, x: Tensor) -> Tensor:\n    return self.layers.forward(x)\n");
    return root;
}

} // namespace muster::worker
