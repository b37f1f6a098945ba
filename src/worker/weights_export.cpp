#include "worker/weights_export.h"

#include "worker/archive_facts.h"
#include "worker/archive_file.h"
#include "worker/safetensors.h"

#include <c10/core/GradMode.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace muster::worker {
namespace {

constexpr std::size_t tensors_max = 1'000'000;

struct Contents {
    std::vector<TensorEntry> entries;
    std::vector<at::Tensor> tensors; ///< as entries
    std::map<std::string, std::string> facts;
};

/// That a tensor lies within the bytes that are stored of it torch sees to when it loads the archive.
void check_tensor(const std::string& name, const at::Tensor& tensor) {
    const auto refuse = [&](const std::string& why) { throw std::invalid_argument{"the tensor " + name + " " + why}; };
    if (!tensor.defined() || !tensor.device().is_cpu() || tensor.layout() != at::kStrided || tensor.is_quantized()) {
        refuse("is not dense");
    }
    if (safetensors_type(tensor.scalar_type()).empty()) {
        refuse(std::string{"has numbers of a type that safetensors does not know: "} +
               c10::toString(tensor.scalar_type()));
    }
}

/// The tensors of the network, those with wide numbers first.
Contents contents_of(const torch::jit::Module& archive) {
    Contents contents;
    contents.facts = archive_facts(archive);
    const torch::jit::Module body = archive.attr("body").toModule();
    std::set<std::string> names{"__metadata__"};
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
        check_tensor(name, tensor);
        if (!names.insert(name).second || names.size() > tensors_max) {
            throw std::invalid_argument{"there are two tensors " + name + ", or too many"};
        }
        contents.entries.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
        contents.tensors.push_back(tensor);
    };
    for (const auto& parameter : body.named_parameters()) {
        add(parameter.name, parameter.value);
    }
    for (const auto& buffer : body.named_buffers()) {
        add(buffer.name, buffer.value);
    }
    return contents;
}

std::vector<std::size_t> widest_first(const Contents& contents) {
    std::vector<std::size_t> order(contents.tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
        return contents.tensors[a].element_size() > contents.tensors[b].element_size();
    });
    return order;
}

/// A small archive may describe a large file: the same stored bytes may be shown as many.
void check_size(const Contents& contents, std::size_t archive_bytes) {
    std::size_t bytes = 0;
    for (const at::Tensor& tensor : contents.tensors) {
        bytes += static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
        if (bytes > archive_bytes) {
            throw std::invalid_argument{"its tensors are larger than the archive that stores them"};
        }
    }
}

ExportedWeights write_file(const Contents& contents, int output) {
    std::vector<TensorEntry> entries;
    const std::vector<std::size_t> order = widest_first(contents);
    for (const std::size_t i : order) {
        entries.push_back(contents.entries[i]);
    }
    const std::string header = safetensors_header(entries, contents.facts);
    ExportedWeights written{std::ssize(entries), std::ssize(header)};
    write_text(output, header);
    for (const std::size_t i : order) {
        write_numbers(output, contents.tensors[i]);
        written.bytes += static_cast<std::int64_t>(contents.tensors[i].nbytes());
    }
    if (::fsync(output) != 0) {
        throw std::system_error{errno, std::generic_category(), "sync the weights"};
    }
    return written;
}

} // namespace

Result<ExportedWeights> export_weights(int archive, const std::string& name, int output) {
    const c10::AutoGradMode no_grad{false};
    if (begins_as_trees(archive)) {
        return Error{ErrorCode::invalid_argument,
                     "boosted trees have no weights; the file itself is in LightGBM's format (api/model.md)",
                     name};
    }
    const auto contents =
        judge_archive<Contents>("not a model archive of this program", name, [archive]() -> Result<Contents> {
            Contents found = contents_of(load_archive(archive));
            check_size(found, file_bytes(archive));
            return found;
        });
    if (!contents) {
        return contents.error();
    }
    return write_file(*contents, output);
}

} // namespace muster::worker
