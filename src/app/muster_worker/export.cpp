#include "app/muster_worker/export.h"

#include "app/muster_worker/boxed.h"
#include "worker/archive_file.h"
#include "worker/sandbox_warm_up.h"
#include "worker/weights_export.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdlib>

namespace muster::app {
namespace {

/// What torch needs beside the archive, which is in memory once.
constexpr std::int64_t memory_bytes_beside = std::int64_t{2} << 30U;

struct Arguments {
    std::string model{};
    int output{-1};
    BoxOptions box{};
    bool memory_given{};
};

Result<nlohmann::json> export_weights(Arguments& arguments) {
    worker::settle_process();
    const auto archive = open_archive(arguments.model);
    if (!archive) {
        return archive.error();
    }
    if (::fcntl(arguments.output, F_GETFD) < 0) {
        return Error{ErrorCode::invalid_argument, "names no open descriptor", "--output-fd"};
    }
    if (!arguments.memory_given) { // a split model may be larger than any default
        const auto bytes = static_cast<std::int64_t>(worker::file_bytes(archive->get()));
        arguments.box.memory_bytes_max = std::max(arguments.box.memory_bytes_max, bytes + memory_bytes_beside);
    }
    if (auto closed = close_the_box(arguments.box, arguments.output); !closed) {
        return std::move(closed).error();
    }
    const auto written = worker::export_weights(archive->get(), arguments.model, arguments.output);
    if (!written) {
        return written.error();
    }
    return nlohmann::json{{"tensors", written->tensors}, {"bytes", written->bytes}};
}

} // namespace

int export_main(int argc, char** argv) {
    Arguments arguments;
    CLI::App program{"Writes the weights of a model archive as safetensors", "muster-worker export"};
    program.add_option("--model", arguments.model, "model archive")->required();
    program.add_option("--output-fd", arguments.output, "empty file, readable and writable")
        ->required()
        ->check(CLI::Range{0, 1 << 20});
    declare_box(program, arguments.box);
    CLI11_PARSE(program, argc, argv)
    arguments.memory_given = program.count("--memory-limit") > 0;
    // Without destructors: what torch does at the end of a process is not for the box.
    std::_Exit(answer(arguments.box, [&arguments] { return export_weights(arguments); }));
}

} // namespace muster::app
