#include "worker/program.h"

#include "base/digest.h"
#include "base/fd.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <fcntl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>
#include <torch/csrc/jit/serialization/export.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
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

// The exported module. What differs between models are attributes. Number types are c10::ScalarType numbers, 6 float32
// and 7 float64: their names exist in Python only.
constexpr const char* encode_source = R"(
def encode(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:
    assert numbers.dim() == 2 and numbers.size(1) == len(self.number_names), "numbers must be [rows, number inputs]"
    rows = numbers.size(0)
    values = numbers.to(7)
    missing = torch.isnan(values)
    values = (torch.where(missing, self.fill, values) - self.mean) / self.scale
    encoded = torch.zeros([rows, self.columns], dtype=7)
    encoded.index_copy_(1, self.number_columns, values)
    encoded.index_copy_(1, self.flag_columns, missing.to(7).index_select(1, self.flagged))
    if len(self.category_names) > 0:
        assert len(categories) == rows, "categories must have one list for each row"
        row_index: List[int] = []
        column_index: List[int] = []
        for i in range(rows):
            assert len(categories[i]) == len(self.category_names), "each row needs one text for each category input"
            for j in range(len(self.category_names)):
                value = categories[i][j]
                column = -1
                if len(value) == 0:
                    column = self.category_flag_columns[j]
                elif value in self.category_columns[j]:
                    column = self.category_columns[j][value]
                if column >= 0:
                    row_index.append(i)
                    column_index.append(column)
        encoded[torch.tensor(row_index), torch.tensor(column_index)] = 1.0
    return encoded.to(6)
)";

std::string forward_source(const Recipe& recipe, const Preprocessing& preprocessing) {
    std::string source = "def forward(self, numbers: Tensor, categories: List[List[str]]) -> Tensor:\n"
                         "    outputs = self.body.forward(self.encode(numbers, categories)";
    source += recipe.number_type == NumberType::fp64 ? ".to(7)" : "";
    source += ").to(7)\n";
    if (task_of(recipe) == TaskKind::regression) {
        return source + "    return outputs * self.target_scale + self.target_mean\n";
    }
    return source + (preprocessing.outputs() == 1 ? "    return torch.sigmoid(outputs)\n"
                                                  : "    return torch.softmax(outputs, 1)\n");
}

void attribute(torch::jit::Module& module, const char* name, const std::vector<std::string>& texts) {
    c10::List<std::string> list;
    for (const std::string& text : texts) {
        list.push_back(text);
    }
    module.register_attribute(name, c10::ListType::ofStrings(), std::move(list));
}

void attribute(torch::jit::Module& module, const char* name, const std::string& text) {
    module.register_attribute(name, c10::StringType::get(), text);
}

/// Registers what encode() needs: where each input goes in an encoded row.
void register_encoding(torch::jit::Module& module, const Preprocessing& preprocessing) {
    std::vector<std::string> number_names;
    std::vector<std::string> category_names;
    std::vector<std::string> input_names;
    std::vector<double> fill;
    std::vector<double> mean;
    std::vector<double> scale;
    std::vector<std::int64_t> number_columns;
    std::vector<std::int64_t> flag_columns;
    std::vector<std::int64_t> flagged;
    c10::List<c10::Dict<std::string, std::int64_t>> category_columns;
    c10::List<std::int64_t> category_flag_columns;
    c10::List<c10::List<std::string>> categories;
    std::int64_t column = 0;
    for (const InputColumn& input : preprocessing.inputs) {
        input_names.push_back(input.name);
        if (input.kind == ColumnKind::number) {
            if (input.missing_flag) {
                flagged.push_back(static_cast<std::int64_t>(number_names.size()));
                flag_columns.push_back(column + 1);
            }
            number_names.push_back(input.name);
            fill.push_back(input.fill);
            mean.push_back(input.mean);
            scale.push_back(input.scale);
            number_columns.push_back(column++);
        } else {
            category_names.push_back(input.name);
            c10::Dict<std::string, std::int64_t> columns;
            c10::List<std::string> names;
            for (const std::string& category : input.categories) {
                columns.insert(category, column++);
                names.push_back(category);
            }
            category_columns.push_back(columns);
            categories.push_back(names);
            category_flag_columns.push_back(input.missing_flag ? column : -1);
        }
        column += input.missing_flag ? 1 : 0;
    }
    module.register_buffer("fill", at::tensor(fill, at::kDouble));
    module.register_buffer("mean", at::tensor(mean, at::kDouble));
    module.register_buffer("scale", at::tensor(scale, at::kDouble));
    module.register_buffer("number_columns", at::tensor(number_columns, at::kLong));
    module.register_buffer("flag_columns", at::tensor(flag_columns, at::kLong));
    module.register_buffer("flagged", at::tensor(flagged, at::kLong));
    module.register_attribute("columns", c10::IntType::get(), column);
    module.register_attribute("category_columns",
                              c10::ListType::create(c10::DictType::create(c10::StringType::get(), c10::IntType::get())),
                              std::move(category_columns));
    module.register_attribute("category_flag_columns", c10::ListType::ofInts(), std::move(category_flag_columns));
    module.register_attribute("categories", c10::ListType::create(c10::ListType::ofStrings()), std::move(categories));
    attribute(module, "input_names", input_names);
    attribute(module, "number_names", number_names);
    attribute(module, "category_names", category_names);
}

const char* name_of(TaskKind task) {
    switch (task) {
    case TaskKind::regression:
        return "regression";
    case TaskKind::binary:
        return "binary";
    case TaskKind::multiclass:
        return "multiclass";
    }
    return "";
}

std::vector<std::string> texts_of(const torch::jit::Module& module, const char* name) {
    std::vector<std::string> texts;
    for (const c10::IValue& text : module.attr(name).toListRef()) {
        texts.push_back(text.toStringRef());
    }
    return texts;
}

} // namespace

void prepare_thread(int threads) {
    torch::jit::setGraphExecutorOptimize(false);
    at::set_num_threads(std::max(1, threads));
    // May be set once in a process, and only before first use: later calls ask for what it already is.
    if (at::get_num_interop_threads() != 1) {
        at::set_num_interop_threads(1);
    }
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
    torch::jit::Module archive{"__torch__.muster.Model"};
    // Without grad mode the copy is made of plain tensors: archives are for use, not for training.
    const c10::AutoGradMode no_grad{false};
    const torch::jit::Module body = state_->module.deepcopy();
    archive.register_module("body", body);
    register_encoding(archive, state_->preprocessing);
    const TargetColumn& target = state_->preprocessing.target;
    archive.register_attribute("target_mean", c10::FloatType::get(), target.mean);
    archive.register_attribute("target_scale", c10::FloatType::get(), target.scale);
    attribute(archive, "target_name", target.name);
    attribute(archive, "target_categories", target.categories);
    attribute(archive, "task", name_of(task_of(state_->recipe)));
    attribute(archive, "recipe", state_->recipe.name + "@" + state_->recipe.digest);
    archive.define(encode_source);
    archive.define(forward_source(state_->recipe, state_->preprocessing));
    archive.eval();
    const auto write = [fd](const void* data, std::size_t size) {
        const auto* bytes = static_cast<const char*>(data);
        for (std::size_t done = 0; done < size;) {
            const ssize_t written = ::write(fd, bytes + done, size - done);
            if (written < 0 && errno != EINTR) {
                throw std::system_error{errno, std::generic_category(), "write the model archive"};
            }
            done += written > 0 ? static_cast<std::size_t>(written) : 0;
        }
        return size;
    };
    torch::jit::ExportModule(archive, write);
}

void ModelProgram::export_archive(const std::filesystem::path& path) const {
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file.valid()) {
        throw std::system_error{errno, std::generic_category(), "open " + path.string()};
    }
    export_archive(file.get());
}

struct ExportedModel::State {
    torch::jit::Module module;
    std::vector<std::string> number_names;
    std::vector<std::string> category_names;
    std::vector<std::string> target_categories;
    std::string target_name;
};

ExportedModel::ExportedModel(std::unique_ptr<State> state) : state_{std::move(state)} {}
ExportedModel::~ExportedModel() = default;
ExportedModel::ExportedModel(ExportedModel&&) noexcept = default;
ExportedModel& ExportedModel::operator=(ExportedModel&&) noexcept = default;

Result<ExportedModel> ExportedModel::load(const std::filesystem::path& path) {
    if (::access(path.c_str(), R_OK) != 0) {
        return Error{ErrorCode::not_found, "cannot read the model archive " + path.string(), path.string()};
    }
    // A file from outside: whatever torch throws about it says that the input is wrong.
    try {
        auto state = std::make_unique<State>();
        state->module = torch::jit::load(path.string());
        state->module.eval();
        state->number_names = texts_of(state->module, "number_names");
        state->category_names = texts_of(state->module, "category_names");
        state->target_categories = texts_of(state->module, "target_categories");
        state->target_name = state->module.attr("target_name").toStringRef();
        return ExportedModel{std::move(state)};
    } catch (const c10::Error& error) {
        return Error{ErrorCode::invalid_argument,
                     "not a model archive of this program: " + std::string{error.what_without_backtrace()},
                     path.string()};
    }
}

const std::vector<std::string>& ExportedModel::number_names() const {
    return state_->number_names;
}
const std::vector<std::string>& ExportedModel::category_names() const {
    return state_->category_names;
}
const std::string& ExportedModel::target_name() const {
    return state_->target_name;
}
const std::vector<std::string>& ExportedModel::target_categories() const {
    return state_->target_categories;
}

Result<std::vector<double>> ExportedModel::predict(const RawRows& raw) const {
    const auto numbers = static_cast<std::int64_t>(state_->number_names.size());
    const std::size_t categories = state_->category_names.size();
    const auto rows = static_cast<std::size_t>(raw.rows);
    if (raw.rows < 0 || std::ssize(raw.numbers) != raw.rows * numbers ||
        (categories > 0 && raw.categories.size() != rows) ||
        std::ranges::any_of(raw.categories, [&](const auto& row) { return row.size() != categories; })) {
        return misfit("",
                      "rows of " + std::to_string(numbers) + " numbers and " + std::to_string(categories) +
                          " categories are required");
    }
    const c10::AutoGradMode no_grad{false};
    c10::List<c10::List<std::string>> texts;
    for (const std::vector<std::string>& row : raw.categories) {
        c10::List<std::string> list;
        for (const std::string& text : row) {
            list.push_back(text);
        }
        texts.push_back(std::move(list));
    }
    const at::Tensor values = at::tensor(raw.numbers, at::kDouble).reshape({raw.rows, numbers});
    const at::Tensor outputs = state_->module.get_method("forward")({values, std::move(texts)}).toTensor().contiguous();
    const auto* first = outputs.const_data_ptr<double>();
    return std::vector<double>(first, first + outputs.numel());
}

} // namespace muster::worker
