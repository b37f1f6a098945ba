#include "app/muster_worker/predict.h"

#include "base/file.h"
#include "worker/predict_rows.h"
#include "worker/program.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace muster::app {
namespace {

constexpr int wrong_input = 4;
constexpr std::uintmax_t input_bytes_max = 1ULL << 30U;

int failed(const Error& error) {
    const nlohmann::json json{
        {"error", {{"message", error.message}, {"where", error.where}, {"nearest", error.nearest}}}};
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return wrong_input;
}

} // namespace

int predict_main(int argc, char** argv) {
    std::string model_file;
    std::string input_file;
    CLI::App program{"Predicts rows of a CSV file with an exported model", "muster-worker predict"};
    program.add_option("--model", model_file, "model archive")->required();
    program.add_option("--input", input_file, "CSV file with a header")->required();
    CLI11_PARSE(program, argc, argv)
    worker::prepare_thread(1);
    auto model = worker::ExportedModel::load(model_file);
    if (!model) {
        return failed(model.error());
    }
    auto text = read_file(input_file, input_bytes_max);
    if (!text) {
        return failed(text.error());
    }
    auto csv = worker::parse_csv(*text);
    if (!csv) {
        return failed(std::move(csv).error().within(input_file));
    }
    auto predictions = worker::predict_rows(*model, *csv);
    if (!predictions) {
        return failed(std::move(predictions).error().within(input_file));
    }
    fmt::print("{}\n", nlohmann::json{{"output", model->target_name()}, {"predictions", *predictions}}.dump());
    return 0;
}

} // namespace muster::app
