/// muster-worker: trains for one job, in a box. Started by a function's agent, which passes all descriptors.
#include "app/muster_worker/check_model.h"
#include "app/muster_worker/export.h"
#include "app/muster_worker/predict.h"
#include "base/file.h"
#include "base/log.h"
#include "wire/preprocessing.h"
#include "worker/compute_device.h"
#include "worker/sandbox_warm_up.h"
#include "worker/session.h"
#include "worker/training_box.h"

#include <CLI/CLI.hpp>
#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace muster; // NOLINT(google-build-using-namespace): a program, not a library

constexpr int usage_error = 2;
constexpr std::uintmax_t matrix_json_bytes_max = 64U << 20U;

struct Arguments {
    int control_listener{-1};
    int peer_listener{-1};
    int output{-1};
    int weights{-1};
    int program{-1};
    std::int64_t program_seconds{60};
    std::vector<std::string> data;
    std::vector<std::string> landing;
    int threads{1};
    std::string device{"cpu"};
    std::int64_t memory_bytes_max{0};
    std::int64_t lease_seconds{30};
    std::vector<std::string> allow_missing;
};

void declare(CLI::App& program, Arguments& arguments) {
    const CLI::Range descriptor{0, 1 << 20};
    program.add_option("--control-listen-fd", arguments.control_listener, "Listening Unix socket for the agent")
        ->required()
        ->check(descriptor);
    program.add_option("--peer-listen-fd", arguments.peer_listener, "Listening TCP socket for other members")
        ->required()
        ->check(descriptor);
    program.add_option("--output-fd", arguments.output, "File for the model archive, readable and writable")
        ->required()
        ->check(descriptor);
    program
        .add_option("--weights-fd", arguments.weights, "File for the weights of a split model, readable and writable")
        ->check(descriptor);
    program.add_option("--program-fd", arguments.program, "Archive of a user's model, readable")->check(descriptor);
    program
        .add_option("--program-seconds", arguments.program_seconds, "Seconds that one run of a user's model may take")
        ->check(CLI::Range{1, 86'400});
    program.add_option("--data-fd",
                       arguments.data,
                       "NAME=FD for matrix.json, train.features, train.target, test.features, test.target; none: the "
                       "data is at other functions");
    program.add_option(
        "--landing-fd",
        arguments.landing,
        "NAME=FD for the same files but matrix.json, readable and writable: rows that are shipped here land "
        "in them");
    program.add_option("--threads", arguments.threads, "Threads of one operation")->check(CLI::Range{1, 1024});
    program.add_option("--device", arguments.device, "Where whole models are trained: cpu, cuda or cuda:N");
    program.add_option("--memory-limit", arguments.memory_bytes_max, "Bytes of memory; 0: no limit of its own")
        ->check(CLI::NonNegativeNumber);
    program.add_option("--lease-seconds", arguments.lease_seconds, "Seconds to live without word from the agent")
        ->check(CLI::Range{1, 86'400});
    program
        .add_option("--allow-missing-isolation",
                    arguments.allow_missing,
                    "Run although the kernel lacks these: landlock, seccomp")
        ->delimiter(',');
}

/// Reads NAME=FD entries of `option`.
Result<std::map<std::string, int>> descriptors_in(const std::vector<std::string>& entries, const char* option) {
    const std::vector<std::string> names{
        "matrix.json", "train.features", "train.target", "test.features", "test.target"};
    std::map<std::string, int> found;
    for (const auto& entry : entries) {
        const auto equals = entry.find('=');
        const auto name = entry.substr(0, equals);
        if (std::find(names.begin(), names.end(), name) == names.end()) {
            return not_allowed(option, name, names);
        }
        const auto number = equals == std::string::npos ? std::string{} : entry.substr(equals + 1);
        int fd = -1;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
        if (error != std::errc{} || end != number.data() + number.size() || ::fcntl(fd, F_GETFD) < 0) {
            return Error{ErrorCode::invalid_argument, "\"" + entry + "\" names no open descriptor", option};
        }
        found[name] = fd;
    }
    return found;
}

worker::MatrixDescriptors matrix_descriptors(const std::map<std::string, int>& found) {
    const auto fd = [&](const char* name) {
        const auto each = found.find(name);
        return each == found.end() ? -1 : each->second;
    };
    return {fd("train.features"), fd("train.target"), fd("test.features"), fd("test.target")};
}

Result<worker::SessionData> read_data(const std::vector<std::string>& entries) {
    if (entries.empty()) {
        return worker::SessionData{};
    }
    const auto descriptors = descriptors_in(entries, "--data-fd");
    if (!descriptors) {
        return descriptors.error();
    }
    const auto described = descriptors->find("matrix.json");
    const auto text =
        read_file("/proc/self/fd/" + std::to_string(described == descriptors->end() ? -1 : described->second),
                  matrix_json_bytes_max);
    if (!text) {
        return Error{text.error()}.within("matrix.json");
    }
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object()) {
        return Error{ErrorCode::invalid_argument, "no JSON object", "matrix.json"};
    }
    auto info = wire::matrix_info_from_json(json.value("info", nlohmann::json{}));
    auto preprocessing = wire::preprocessing_from_json(json.value("preprocessing", nlohmann::json{}));
    if (!info || !preprocessing) {
        return Error{!info ? info.error() : preprocessing.error()}.within("matrix.json");
    }
    auto matrices = worker::map_matrices(matrix_descriptors(*descriptors), *info);
    if (!matrices) {
        return std::move(matrices).error();
    }
    return worker::SessionData{std::move(*matrices), std::move(*info), std::move(*preprocessing)};
}

Result<std::string> close_the_box(const Arguments& arguments, const std::map<std::string, int>& landing) {
    worker::SandboxSpec spec;
    spec.listeners = {arguments.control_listener, arguments.peer_listener};
    spec.output = arguments.output;
    spec.weights = arguments.weights;
    for (const auto& [name, file] : landing) {
        spec.landing.push_back(file);
    }
    spec.memory_bytes_max = arguments.memory_bytes_max;
    spec.allow_missing = arguments.allow_missing;
    const auto device = worker::parse_device(arguments.device);
    if (!device) {
        return device.error();
    }
    if (!device->is_cpu() && arguments.program >= 0) {
        return Error{ErrorCode::conflict,
                     "a model that a user brings is not run beside a GPU's driver, which the box cannot close; "
                     "at a function with device: cpu it can be trained"};
    }
    return worker::close_training_box(std::move(spec), *device, arguments.threads);
}

int run(const Arguments& arguments) {
    worker::settle_process();
    // Also asks whether stderr is a terminal, once, which the box forbids later.
    log::info("worker starts threads={} lease_seconds={}", arguments.threads, arguments.lease_seconds);
    auto data = read_data(arguments.data);
    if (!data) {
        log::error("the worker cannot read its data {}", log::field("reason", data.error().text()));
        return static_cast<int>(worker::SessionEnd::failed);
    }
    const auto landing = descriptors_in(arguments.landing, "--landing-fd");
    if (!landing) {
        log::error("the worker does not start {}", log::field("reason", landing.error().text()));
        return static_cast<int>(worker::SessionEnd::failed);
    }
    const auto box = close_the_box(arguments, *landing);
    if (!box) {
        log::error("the worker does not start {}", log::field("reason", box.error().text()));
        return static_cast<int>(worker::SessionEnd::failed);
    }
    log::info("worker in its box {} rows={} threads={}", *box, data->info.rows, arguments.threads);
    worker::SessionSettings settings;
    settings.control_listener = arguments.control_listener;
    settings.lease = std::chrono::seconds{arguments.lease_seconds};
    settings.job.peer_listener = arguments.peer_listener;
    settings.job.output = arguments.output;
    settings.job.weights = arguments.weights;
    settings.job.program = arguments.program;
    settings.job.landing = matrix_descriptors(*landing);
    settings.job.program_time = std::chrono::seconds{arguments.program_seconds};
    settings.job.memory_bytes_max = arguments.memory_bytes_max;
    settings.job.threads = arguments.threads;
    settings.job.device = arguments.device;
    worker::Session session{settings, *data};
    const auto ended = session.run();
    log::info("worker ends status={}", static_cast<int>(ended));
    // Without destructors: the job's thread may be within a long step, and nothing is left to be saved.
    std::_Exit(static_cast<int>(ended));
}

} // namespace

int main(int count, char** values) {
    if (count > 1 && std::string_view{values[1]} == "predict") {
        return app::predict_main(count - 1, values + 1);
    }
    if (count > 1 && std::string_view{values[1]} == "export") {
        return app::export_main(count - 1, values + 1);
    }
    if (count > 1 && std::string_view{values[1]} == "check-model") {
        return app::check_model_main(count - 1, values + 1);
    }
    CLI::App program{"Trains for one job of a muster function. Started by `muster function`, not by hand."};
    Arguments arguments;
    declare(program, arguments);
    try {
        program.parse(count, values);
    } catch (const CLI::ParseError& error) { // CLI11's way to say --help and wrong arguments
        return program.exit(error) == 0 ? 0 : usage_error;
    }
    try {
        return run(arguments);
    } catch (const std::exception& error) { // the last boundary
        log::error("the worker ends {}", log::field("reason", error.what()));
        return static_cast<int>(worker::SessionEnd::failed);
    }
}
