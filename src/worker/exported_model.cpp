#include "worker/exported_model.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <algorithm>

namespace muster::worker {
namespace {

std::vector<std::string> texts_of(const torch::jit::Module& module, const char* name) {
    std::vector<std::string> texts;
    for (const c10::IValue& text : module.attr(name).toListRef()) {
        texts.push_back(text.toStringRef());
    }
    return texts;
}

} // namespace

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
        return Error{ErrorCode::invalid_argument,
                     "rows of " + std::to_string(numbers) + " numbers and " + std::to_string(categories) +
                         " categories are required"};
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
