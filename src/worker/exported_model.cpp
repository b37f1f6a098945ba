#include "worker/exported_model.h"

#include "base/fd.h"
#include "worker/archive.h"
#include "worker/archive_file.h"
#include "worker/tree_archive.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fcntl.h>

#include <algorithm>
#include <optional>

namespace muster::worker {
namespace {

std::vector<std::string> texts_of(const torch::jit::Module& module, const char* name) {
    std::vector<std::string> texts;
    for (const c10::IValue& text : module.attr(name).toListRef()) {
        texts.push_back(text.toStringRef());
    }
    return texts;
}

/// Reads a file of boosted trees; none, where it is another one. Throws std::system_error.
Result<std::optional<TreeArchive>> load_trees(int fd) {
    if (!begins_as_trees(fd)) {
        return std::optional<TreeArchive>{};
    }
    const auto bytes = file_bytes(fd);
    if (bytes > TreeModelLimits{}.text_bytes_max) {
        return Error{ErrorCode::resource_exhausted, "the model is larger than any of boosted trees may be"};
    }
    std::string text(bytes, '\0');
    archive_reader(fd)->read(0, text.data(), text.size(), "the model");
    auto archive = read_tree_archive(text);
    return archive ? Result<std::optional<TreeArchive>>{std::optional{std::move(*archive)}}
                   : Result<std::optional<TreeArchive>>{std::move(archive).error()};
}

} // namespace

struct ExportedModel::State {
    torch::jit::Module module;      ///< the model; of boosted trees what makes their rows
    std::optional<TreeModel> trees; ///< read what the module makes
    std::vector<std::string> number_names;
    std::vector<std::string> date_names;
    std::vector<std::string> time_names;
    std::vector<std::string> category_names;
    std::vector<std::string> target_categories;
    std::string target_name;
    ModelWindows windows;
};

ExportedModel::ExportedModel(std::unique_ptr<State> state) : state_{std::move(state)} {}
ExportedModel::~ExportedModel() = default;
ExportedModel::ExportedModel(ExportedModel&&) noexcept = default;
ExportedModel& ExportedModel::operator=(ExportedModel&&) noexcept = default;

Result<ExportedModel> ExportedModel::load(int fd, const std::string& name) {
    return judge_archive<ExportedModel>(
        "not a model archive of this program", name, [fd, &name]() -> Result<ExportedModel> {
            auto state = std::make_unique<State>();
            auto trees = load_trees(fd);
            if (!trees) {
                return std::move(trees).error().within(name);
            }
            if (*trees) {
                state->module = tree_inputs_module((*trees)->recipe, (*trees)->preprocessing);
                state->trees = std::move((*trees)->model);
            } else {
                state->module = load_archive(fd);
            }
            state->module.eval();
            if (state->module.hasattr("task") && state->module.attr("task").toStringRef() == "language") {
                return Error{ErrorCode::invalid_argument,
                             "this model reads text, not rows of a table; torch.jit.load runs it (api/model.md)",
                             name};
            }
            state->number_names = texts_of(state->module, "number_names");
            if (state->module.hasattr("date_names")) { // not in archives from before dates were inputs
                state->date_names = texts_of(state->module, "date_names");
            }
            if (state->module.hasattr("history_names")) { // group, value, now, known_at
                const auto names = texts_of(state->module, "history_names");
                state->time_names.assign(names.begin() + std::min<std::ptrdiff_t>(2, std::ssize(names)), names.end());
            }
            state->category_names = texts_of(state->module, "category_names");
            state->target_categories = texts_of(state->module, "target_categories");
            state->target_name = state->module.attr("target_name").toStringRef();
            if (state->module.hasattr("window")) {
                state->windows = {.length = state->module.attr("window").toInt(),
                                  .time = state->module.attr("time_name").toStringRef(),
                                  .series = state->module.attr("series_name").toStringRef()};
            }
            if (state->windows.length < 1) {
                return Error{ErrorCode::invalid_argument, "the model's window has no rows", name};
            }
            return ExportedModel{std::move(state)};
        });
}

Result<ExportedModel> ExportedModel::load(const std::filesystem::path& path) {
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file.valid()) {
        return Error{ErrorCode::not_found, "cannot read the model archive " + path.string(), path.string()};
    }
    return load(file.get(), path.string());
}

const std::vector<std::string>& ExportedModel::number_names() const {
    return state_->number_names;
}
const std::vector<std::string>& ExportedModel::date_names() const {
    return state_->date_names;
}
const std::vector<std::string>& ExportedModel::time_names() const {
    return state_->time_names;
}
const std::vector<std::string>& ExportedModel::category_names() const {
    return state_->category_names;
}
const std::string& ExportedModel::target_name() const {
    return state_->target_name;
}
const ModelWindows& ExportedModel::windows() const {
    return state_->windows;
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
        return Error{ErrorCode::invalid_argument,
                     "rows of " + std::to_string(numbers) + " numbers and " + std::to_string(categories) +
                         " categories are required"};
    }
    if (raw.rows < state_->windows.length) {
        return Error{ErrorCode::invalid_argument,
                     std::to_string(raw.rows) + " rows are fewer than the model's window of " +
                         std::to_string(state_->windows.length)};
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
    return judge_archive<std::vector<double>>("the archive cannot predict", "", [&]() -> Result<std::vector<double>> {
        const at::Tensor outputs = state_->module.get_method("forward")({values, std::move(texts)}).toTensor();
        if (outputs.dim() != 2 || outputs.size(0) != raw.rows - state_->windows.length + 1 || outputs.size(1) < 1 ||
            outputs.scalar_type() != at::kDouble || !outputs.device().is_cpu() || outputs.layout() != at::kStrided) {
            return Error{ErrorCode::invalid_argument, "the archive does not answer with float64 [rows, outputs]"};
        }
        const at::Tensor dense = outputs.contiguous();
        const auto* first = dense.const_data_ptr<double>();
        if (state_->trees) {
            return state_->trees->predict({first, static_cast<std::size_t>(dense.numel())});
        }
        return std::vector<double>(first, first + dense.numel());
    });
}

} // namespace muster::worker
