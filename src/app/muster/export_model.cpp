#include "app/muster/export_model.h"

#include "app/muster/boxed_worker.h"
#include "base/file_replacement.h"

namespace muster::app {
namespace {

Result<WrittenWeights> written_weights(const nlohmann::json& json) {
    WrittenWeights written;
    for (const auto& [name, value] : {std::pair{"tensors", &written.tensors}, std::pair{"bytes", &written.bytes}}) {
        const auto found = json.find(name);
        if (found == json.end() || !found->is_number_integer()) {
            return Error{ErrorCode::unavailable, "muster-worker wrote no weights (its answer is malformed)"};
        }
        *value = found->get<std::int64_t>();
    }
    return written;
}

} // namespace

Result<WrittenWeights> export_safetensors(const std::filesystem::path& archive,
                                          const std::filesystem::path& out,
                                          const std::vector<std::string>& allow_missing) {
    auto file = FileReplacement::open(out);
    if (!file) {
        return std::move(file).error();
    }
    const auto answer =
        ask_boxed_worker({"export", "--model", archive.string(), "--output-fd", std::to_string(file->fd())},
                         archive,
                         allow_missing,
                         {file->fd()});
    auto written = answer ? written_weights(*answer) : Result<WrittenWeights>{answer.error()};
    if (!written) {
        return written;
    }
    if (auto complete = file->commit(); !complete) {
        return std::move(complete).error();
    }
    return written;
}

} // namespace muster::app
