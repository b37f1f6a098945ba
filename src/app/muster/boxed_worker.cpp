#include "app/muster/boxed_worker.h"

#include "app/muster/programs.h"
#include "base/file.h"
#include "base/id.h"
#include "function/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <csignal>

namespace muster::app {
namespace {

constexpr std::uintmax_t answer_bytes_max = 1ULL << 32U;

std::string text_of(const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// `status` as ChildProcess::wait() says it.
Result<nlohmann::json> read_answer(const std::string& text, const std::string& status, const std::string& archive) {
    if (status.starts_with(fmt::format("signal {} ", SIGSYS))) {
        return Error{ErrorCode::invalid_argument,
                     "the archive tried what the sandbox forbids and was stopped; do not use it",
                     archive};
    }
    auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_object() && json.contains("error") && json["error"].is_object()) {
        const auto& error = json["error"];
        Error result{ErrorCode::invalid_argument, text_of(error, "message"), text_of(error, "where")};
        result.nearest = text_of(error, "nearest");
        return result;
    }
    if (!status.empty() || !json.is_object() || json.contains("error")) {
        return Error{ErrorCode::unavailable,
                     fmt::format("muster-worker gave no answer ({})", status.empty() ? "exit status 0" : status)};
    }
    return json;
}

} // namespace

Result<nlohmann::json> ask_boxed_worker(std::vector<std::string> words,
                                        const std::filesystem::path& archive,
                                        const std::vector<std::string>& allow_missing,
                                        const std::vector<int>& descriptors,
                                        std::chrono::seconds patience) {
    auto worker = sibling("muster-worker");
    if (!worker) {
        return std::move(worker).error();
    }
    const auto answer_file = std::filesystem::temp_directory_path() / ("muster-answer-" + random_hex(8) + ".json");
    const UniqueFd answer{::open(answer_file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!answer.valid()) {
        return Error{ErrorCode::unavailable, "cannot write " + answer_file.string()};
    }
    if (!allow_missing.empty()) {
        words.insert(words.end(), {"--allow-missing-isolation", fmt::format("{}", fmt::join(allow_missing, ","))});
    }
    auto child = function::ChildProcess::start({.program = *worker,
                                                .arguments = std::move(words),
                                                .descriptors = descriptors,
                                                .output = answer.get(),
                                                .end_with_parent = true});
    Result<std::string> status = child ? child->wait(Deadline::after(patience)) : Result<std::string>{child.error()};
    auto text = read_file(answer_file, answer_bytes_max);
    std::filesystem::remove(answer_file);
    if (!status && status.error().code == ErrorCode::deadline_exceeded) {
        return Error{ErrorCode::deadline_exceeded,
                     fmt::format("looking at the archive did not end within {} s", patience.count()),
                     archive.string()};
    }
    if (!status) {
        return std::move(status).error();
    }
    if (!text) {
        return std::move(text).error();
    }
    return read_answer(*text, *status, archive.string());
}

} // namespace muster::app
