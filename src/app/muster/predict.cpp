#include "app/muster/predict.h"

#include "app/muster/boxed_worker.h"

#include <limits>

namespace muster::app {
namespace {

Error malformed() {
    return {ErrorCode::unavailable, "muster-worker gave no predictions (its answer is malformed)"};
}

/// The archive had a part in what the worker wrote.
Result<Predictions> predictions_of(const nlohmann::json& json) {
    const auto output = json.find("output");
    const auto rows = json.find("predictions");
    if (output == json.end() || !output->is_string() || rows == json.end() || !rows->is_array()) {
        return malformed();
    }
    Predictions predictions{output->get<std::string>(), {}};
    for (const auto& row : *rows) {
        auto& values = predictions.rows.emplace_back();
        for (const auto& value : row) {
            if (!value.is_number() && !value.is_null()) {
                return malformed();
            }
            // JSON has no NaN and no infinity.
            values.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
        }
    }
    return predictions;
}

} // namespace

Result<Predictions> predict_file(const std::filesystem::path& model,
                                 const std::filesystem::path& input,
                                 const std::vector<std::string>& allow_missing) {
    const auto answer =
        ask_boxed_worker({"predict", "--model", model.string(), "--input", input.string()}, model, allow_missing);
    return answer ? predictions_of(*answer) : answer.error();
}

} // namespace muster::app
