#include "app/muster_worker/predict.h"

#include "base/fd.h"
#include "base/file.h"
#include "worker/predict_rows.h"
#include "worker/sandbox.h"
#include "worker/sandbox_warm_up.h"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <system_error>

namespace muster::app {
namespace {

constexpr int wrong_input = 4;
constexpr std::uintmax_t input_bytes_max = 1ULL << 30U;
constexpr std::int64_t memory_bytes_default = std::int64_t{8} << 30U;

struct Arguments {
    std::string model{};
    std::string input{};
    std::int64_t memory_bytes_max{memory_bytes_default};
    std::vector<std::string> allow_missing{};
};

void declare(CLI::App& program, Arguments& arguments) {
    program.add_option("--model", arguments.model, "model archive")->required();
    program.add_option("--input", arguments.input, "CSV file with a header")->required();
    program.add_option("--memory-limit", arguments.memory_bytes_max, "bytes of memory; 0: no limit of its own")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    program
        .add_option("--allow-missing-isolation",
                    arguments.allow_missing,
                    "run although the kernel lacks these: landlock, seccomp")
        ->delimiter(',');
}

/// Writes the line to stdout without stdio, which asks the system about the file first: the box forbids that.
void print_line(const nlohmann::json& json) {
    const auto line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    for (std::size_t done = 0; done < line.size();) {
        const ssize_t written = ::write(STDOUT_FILENO, line.data() + done, line.size() - done);
        if (written < 0 && errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "write the predictions"};
        }
        done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
}

/// An archive and a table are untrusted: from here on the process has its open files and nothing else.
Result<void> close_the_box(const Arguments& arguments) {
    worker::SandboxSpec spec;
    spec.memory_bytes_max = arguments.memory_bytes_max;
    spec.allow_missing = arguments.allow_missing;
    if (auto warm = worker::warm_up_predictions(); !warm) {
        return warm;
    }
    if (auto files = worker::forbid_files(spec); !files) {
        return std::move(files).error();
    }
    if (auto calls = worker::forbid_calls(spec); !calls) {
        return std::move(calls).error();
    }
    return {};
}

Result<nlohmann::json> predict(const Arguments& arguments) {
    worker::settle_process();
    const UniqueFd archive{::open(arguments.model.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!archive.valid()) {
        return Error{ErrorCode::not_found, "cannot read the model archive " + arguments.model, arguments.model};
    }
    auto text = read_file(arguments.input, input_bytes_max);
    if (!text) {
        return std::move(text).error();
    }
    if (auto closed = close_the_box(arguments); !closed) {
        return std::move(closed).error();
    }
    auto model = worker::ExportedModel::load(archive.get(), arguments.model);
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

int answer(const Result<nlohmann::json>& result) {
    if (result) {
        print_line(*result);
        return 0;
    }
    const Error& error = result.error();
    print_line({{"error", {{"message", error.message}, {"where", error.where}, {"nearest", error.nearest}}}});
    return wrong_input;
}

int guarded(const Arguments& arguments) {
    try {
        return answer(predict(arguments));
    } catch (const std::bad_alloc&) {
        return answer(Error{ErrorCode::resource_exhausted,
                            fmt::format("not enough memory for archive and input; the limit is {} MiB",
                                        arguments.memory_bytes_max >> 20U)});
    } catch (const std::exception& error) { // the last boundary
        return answer(Error{ErrorCode::unavailable, error.what()});
    }
}

} // namespace

int predict_main(int argc, char** argv) {
    Arguments arguments;
    CLI::App program{"Predicts rows of a CSV file with an exported model", "muster-worker predict"};
    declare(program, arguments);
    CLI11_PARSE(program, argc, argv)
    // Without destructors: what torch does at the end of a process is not for the box.
    std::_Exit(guarded(arguments));
}

} // namespace muster::app
