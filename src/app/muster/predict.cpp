#include "app/muster/predict.h"

#include "app/muster/programs.h"
#include "base/file.h"
#include "base/id.h"
#include "function/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <limits>

namespace muster::app {
namespace {

constexpr auto predict_timeout = std::chrono::minutes{10};
constexpr std::uintmax_t answer_bytes_max = 1ULL << 32U;

Error no_predictions(const std::string& why) {
    return {ErrorCode::unavailable, fmt::format("muster-worker gave no predictions ({})", why)};
}

/// The archive had a part in what the worker wrote, so nothing of it is taken for granted.
Result<Predictions> predictions_of(const nlohmann::json& json) {
    Predictions predictions{json.value("output", ""), {}};
    for (const auto& row : json["predictions"]) {
        auto& values = predictions.rows.emplace_back();
        for (const auto& value : row) {
            if (!value.is_number() && !value.is_null()) {
                return no_predictions("its answer holds something else than numbers");
            }
            // JSON has no NaN and no infinity.
            values.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
        }
    }
    return predictions;
}

std::string text_of(const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// `status` as ChildProcess::wait() says it.
Result<Predictions> read_answer(const std::string& text, const std::string& status, const std::string& model) {
    if (status.starts_with(fmt::format("signal {} ", SIGSYS))) {
        return Error{ErrorCode::invalid_argument,
                     "the archive tried what the sandbox forbids and was stopped; do not use it",
                     model};
    }
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_object() && json.contains("error")) {
        const auto& error = json["error"];
        if (!error.is_object()) {
            return no_predictions("its answer is malformed");
        }
        Error result{ErrorCode::invalid_argument, text_of(error, "message"), text_of(error, "where")};
        result.nearest = text_of(error, "nearest");
        return result;
    }
    if (!status.empty() || !json.is_object() || !json.contains("predictions")) {
        return no_predictions(status.empty() ? "exit status 0" : status);
    }
    return predictions_of(json);
}

} // namespace

Result<Predictions> predict_file(const std::filesystem::path& model,
                                 const std::filesystem::path& input,
                                 const std::vector<std::string>& allow_missing) {
    auto worker = sibling("muster-worker");
    if (!worker) {
        return std::move(worker).error();
    }
    const auto answer_file = std::filesystem::temp_directory_path() / ("muster-predict-" + random_hex(8) + ".json");
    const UniqueFd answer{::open(answer_file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!answer.valid()) {
        return Error{ErrorCode::unavailable, "cannot write " + answer_file.string()};
    }
    std::vector<std::string> arguments{"predict", "--model", model.string(), "--input", input.string()};
    if (!allow_missing.empty()) {
        arguments.insert(arguments.end(),
                         {"--allow-missing-isolation", fmt::format("{}", fmt::join(allow_missing, ","))});
    }
    auto child = function::ChildProcess::start(
        {.program = *worker, .arguments = arguments, .output = answer.get(), .end_with_parent = true});
    Result<std::string> status =
        child ? child->wait(Deadline::after(predict_timeout)) : Result<std::string>{child.error()};
    auto text = read_file(answer_file, answer_bytes_max);
    std::filesystem::remove(answer_file);
    if (!status) {
        return std::move(status).error();
    }
    if (!text) {
        return std::move(text).error();
    }
    return read_answer(*text, *status, model.string());
}

} // namespace muster::app
