#include "worker/exported_model.h"

#include "base/fd.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <fcntl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <new>
#include <system_error>

namespace muster::worker {
namespace {

std::vector<std::string> texts_of(const torch::jit::Module& module, const char* name) {
    std::vector<std::string> texts;
    for (const c10::IValue& text : module.attr(name).toListRef()) {
        texts.push_back(text.toStringRef());
    }
    return texts;
}

/// Reads an open file by position: within the box nothing can be opened.
class DescriptorReader : public caffe2::serialize::ReadAdapterInterface {
public:
    explicit DescriptorReader(int fd) : fd_{fd} {
        const off_t end = ::lseek(fd, 0, SEEK_END); // the box allows no fstat()
        if (end < 0) {
            throw std::system_error{errno, std::generic_category(), "size of the model archive"};
        }
        size_ = static_cast<std::size_t>(end);
    }
    [[nodiscard]] std::size_t size() const override { return size_; }
    std::size_t read(std::uint64_t position, void* buffer, std::size_t bytes, const char* /*what*/) const override {
        std::size_t done = 0;
        while (done < bytes) {
            const ssize_t count =
                ::pread(fd_, static_cast<char*>(buffer) + done, bytes - done, static_cast<off_t>(position + done));
            if (count < 0 && errno != EINTR) {
                throw std::system_error{errno, std::generic_category(), "read the model archive"};
            }
            if (count == 0) {
                break;
            }
            done += count > 0 ? static_cast<std::size_t>(count) : 0;
        }
        return done;
    }

private:
    int fd_;
    std::size_t size_{};
};

/// Runs what an archive from outside may make fail: whatever torch throws then says that the archive is wrong, except
/// that memory ran out.
template <typename Value>
Result<Value> judged(const std::string& what, const std::string& where, const std::function<Result<Value>()>& action) {
    std::string why;
    try {
        return action();
    } catch (const c10::OutOfMemoryError&) {
        throw std::bad_alloc{};
    } catch (const c10::Error& error) {
        why = error.what_without_backtrace();
        if (why.find("not enough memory") != std::string::npos) { // torch's CPU allocator has no type for it
            throw std::bad_alloc{};
        }
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) { // the interpreter's own types
        why = error.what();
    }
    return Error{ErrorCode::invalid_argument, what + ": " + why, where};
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

Result<ExportedModel> ExportedModel::load(int fd, const std::string& name) {
    return judged<ExportedModel>("not a model archive of this program", name, [fd, &name]() -> Result<ExportedModel> {
        auto state = std::make_unique<State>();
        state->module = torch::jit::load(std::make_shared<DescriptorReader>(fd));
        state->module.eval();
        if (state->module.hasattr("task") && state->module.attr("task").toStringRef() == "language") {
            return Error{ErrorCode::invalid_argument,
                         "this model reads text, not rows of a table; torch.jit.load runs it (api/model.md)",
                         name};
        }
        state->number_names = texts_of(state->module, "number_names");
        state->category_names = texts_of(state->module, "category_names");
        state->target_categories = texts_of(state->module, "target_categories");
        state->target_name = state->module.attr("target_name").toStringRef();
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
    return judged<std::vector<double>>("the archive cannot predict", "", [&]() -> Result<std::vector<double>> {
        const at::Tensor outputs = state_->module.get_method("forward")({values, std::move(texts)}).toTensor();
        if (outputs.dim() != 2 || outputs.size(0) != raw.rows || outputs.size(1) < 1 ||
            outputs.scalar_type() != at::kDouble || !outputs.device().is_cpu() || outputs.layout() != at::kStrided) {
            return Error{ErrorCode::invalid_argument, "the archive does not answer with float64 [rows, outputs]"};
        }
        const at::Tensor dense = outputs.contiguous();
        const auto* first = dense.const_data_ptr<double>();
        return std::vector<double>(first, first + dense.numel());
    });
}

} // namespace muster::worker
