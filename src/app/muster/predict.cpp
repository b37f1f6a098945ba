#include "app/muster/predict.h"

#include "app/muster/programs.h"
#include "base/file.h"
#include "base/id.h"
#include "function/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace muster::app {
namespace {

constexpr auto predict_timeout = std::chrono::minutes{10};
constexpr std::uintmax_t answer_bytes_max = 1ULL << 32U;

} // namespace

Result<Predictions> predict_file(const std::filesystem::path& model, const std::filesystem::path& input) {
    auto worker = sibling("muster-worker");
    if (!worker) {
        return std::move(worker).error();
    }
    const auto answer_file = std::filesystem::temp_directory_path() / ("muster-predict-" + random_hex(8) + ".json");
    const UniqueFd answer{::open(answer_file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!answer.valid()) {
        return Error{ErrorCode::unavailable, "cannot write " + answer_file.string()};
    }
    auto child =
        function::ChildProcess::start({.program = *worker,
                                       .arguments = {"predict", "--model", model.string(), "--input", input.string()},
                                       .output = answer.get(),
                                       .end_with_parent = true});
    Result<std::string> status =
        child ? child->wait(Deadline::after(predict_timeout)) : Result<std::string>{child.error()};
    auto text = read_file(answer_file, answer_bytes_max);
    std::filesystem::remove(answer_file);
    if (!status) {
        return std::move(status).error();
    }
    const auto json = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json{};
    if (json.is_object() && json.contains("error")) {
        const auto& error = json["error"];
        Error result{ErrorCode::invalid_argument, error.value("message", ""), error.value("where", "")};
        result.nearest = error.value("nearest", "");
        return result;
    }
    if (!json.is_object() || !json.contains("predictions")) {
        return Error{
            ErrorCode::unavailable,
            fmt::format("muster-worker gave no predictions ({})", status->empty() ? "exit status 0" : *status)};
    }
    return Predictions{json.value("output", ""), json["predictions"].get<std::vector<std::vector<double>>>()};
}

} // namespace muster::app
