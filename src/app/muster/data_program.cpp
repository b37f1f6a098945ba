#include "app/muster/data_program.h"

#include "app/muster/programs.h"
#include "base/file.h"
#include "base/id.h"
#include "function/child_process.h"
#include "wire/recipe.h"

#include <fcntl.h>
#include <fmt/format.h>

namespace muster::app {
namespace {

constexpr auto patience = std::chrono::minutes{10};
constexpr std::uintmax_t answer_bytes_max = 256U << 20U;

Result<nlohmann::json> read_answer(const std::string& text, const std::string& status) {
    auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) {
        return Error{ErrorCode::unavailable,
                     fmt::format("muster-data gave no answer ({})", status.empty() ? "exit status 0" : status)};
    }
    if (!json.contains("error")) {
        return json;
    }
    const auto& error = json.at("error");
    Error result{ErrorCode::invalid_argument, error.value("message", ""), error.value("where", "")};
    result.nearest = error.value("nearest", "");
    return result;
}

} // namespace

Result<nlohmann::json>
inspect_data(const std::filesystem::path& source, const RecipeCsv& csv, const std::string& target) {
    auto program = sibling("muster-data");
    if (!program) {
        return std::move(program).error();
    }
    const auto answer_file = std::filesystem::temp_directory_path() / ("muster-answer-" + random_hex(8) + ".json");
    const UniqueFd answer{::open(answer_file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!answer.valid()) {
        return Error{ErrorCode::unavailable, "cannot write " + answer_file.string()};
    }
    std::vector<std::string> words{"--inspect", source.string(), "--csv", wire::to_json(csv).dump()};
    if (!target.empty()) {
        words.insert(words.end(), {"--target", target});
    }
    auto child = function::ChildProcess::start({.program = *program,
                                                .arguments = std::move(words),
                                                .descriptors = {},
                                                .output = answer.get(),
                                                .end_with_parent = true});
    Result<std::string> status = child ? child->wait(Deadline::after(patience)) : Result<std::string>{child.error()};
    auto text = read_file(answer_file, answer_bytes_max);
    std::filesystem::remove(answer_file);
    if (!status) {
        return std::move(status).error().within("reading " + source.string());
    }
    return text ? read_answer(*text, *status) : std::move(text).error();
}

} // namespace muster::app
