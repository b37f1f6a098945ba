#include "app/muster_worker/predict.h"

#include "app/muster_worker/boxed.h"
#include "base/file.h"
#include "worker/predict_rows.h"
#include "worker/sandbox_warm_up.h"

#include <cstdlib>

namespace muster::app {
namespace {

constexpr std::uintmax_t input_bytes_max = 1ULL << 30U;

struct Arguments {
    std::string model{};
    std::string input{};
    BoxOptions box{};
};

Result<nlohmann::json> predict(const Arguments& arguments) {
    worker::settle_process();
    const auto archive = open_archive(arguments.model);
    if (!archive) {
        return archive.error();
    }
    auto text = read_file(arguments.input, input_bytes_max);
    if (!text) {
        return std::move(text).error();
    }
    if (auto closed = close_the_box(arguments.box); !closed) {
        return std::move(closed).error();
    }
    auto model = worker::ExportedModel::load(archive->get(), arguments.model);
    if (!model) {
        return std::move(model).error();
    }
    auto csv = worker::parse_csv(*text);
    if (!csv) {
        return std::move(csv).error().within(arguments.input);
    }
    auto predictions = worker::predict_rows(*model, *csv);
    if (!predictions) {
        return std::move(predictions).error().within(arguments.input);
    }
    return nlohmann::json{{"output", model->target_name()}, {"predictions", *predictions}};
}

} // namespace

int predict_main(int argc, char** argv) {
    Arguments arguments;
    CLI::App program{"Predicts rows of a CSV file with an exported model", "muster-worker predict"};
    program.add_option("--model", arguments.model, "model archive")->required();
    program.add_option("--input", arguments.input, "CSV file with a header")->required();
    declare_box(program, arguments.box);
    CLI11_PARSE(program, argc, argv)
    // Without destructors: what torch does at the end of a process is not for the box.
    std::_Exit(answer(arguments.box, [&arguments] { return predict(arguments); }));
}

} // namespace muster::app
