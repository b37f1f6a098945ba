#include "app/muster/export_model.h"

#include "app/muster/boxed_worker.h"
#include "app/muster/programs.h"
#include "base/file_replacement.h"
#include "function/child_process.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>

namespace muster::app {
namespace {

constexpr auto onnx_timeout = std::chrono::minutes{10};
/// Exit codes of python/muster_onnx/command.py.
constexpr int missing_package = 3;
constexpr int wrong_input = 4;

/// What a child wrote, without the end of its last line.
std::string all_of(int fd) {
    constexpr std::size_t said_bytes_max = 4096;
    std::array<char, said_bytes_max> said{};
    const ssize_t count = ::pread(fd, said.data(), said.size(), 0);
    std::string text(said.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    text.erase(text.find_last_not_of('\n') + 1);
    return text;
}

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

Result<void>
export_onnx(const std::filesystem::path& weights, const std::filesystem::path& out, const std::string& python) {
    auto package = onnx_package();
    if (!package) {
        return std::move(package).error();
    }
    const auto program = program_in_path(python);
    if (!program) {
        return Error{
            ErrorCode::not_found,
            fmt::format("ONNX files are made by Python 3 with the packages of {}; {}: install it, or name another "
                        "one with --python",
                        (*package / "requirements.txt").string(),
                        program.error().message)};
    }
    const UniqueFd words{::memfd_create("words", MFD_CLOEXEC)};
    auto child = function::ChildProcess::start({.program = *program,
                                                .arguments = {package->string(), weights.string(), out.string()},
                                                .errors = words.get(),
                                                .end_with_parent = true});
    const Result<std::string> status =
        child ? child->wait(Deadline::after(onnx_timeout)) : Result<std::string>{child.error()};
    if (!status || status->empty()) {
        return status ? Result<void>{} : status.error();
    }
    const std::string said = all_of(words.get());
    if (*status == fmt::format("exit status {}", missing_package)) {
        return Error{ErrorCode::not_found, said};
    }
    if (*status == fmt::format("exit status {}", wrong_input)) {
        return Error{ErrorCode::invalid_argument, said};
    }
    return Error{ErrorCode::unavailable,
                 fmt::format("{} made no ONNX file ({}): {}", program->string(), *status, said)};
}

} // namespace muster::app
