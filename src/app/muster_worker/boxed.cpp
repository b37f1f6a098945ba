#include "app/muster_worker/boxed.h"

#include "worker/sandbox.h"
#include "worker/sandbox_warm_up.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace muster::app {
namespace {

constexpr int wrong_input = 4;

/// Writes the line to stdout without stdio, which asks the system about the file first: the box forbids that.
void print_line(const nlohmann::json& json) {
    const auto line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    for (std::size_t done = 0; done < line.size();) {
        const ssize_t written = ::write(STDOUT_FILENO, line.data() + done, line.size() - done);
        if (written < 0 && errno != EINTR) {
            throw std::system_error{errno, std::generic_category(), "write the answer"};
        }
        done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
}

int print_answer(const Result<nlohmann::json>& result) {
    if (result) {
        print_line(*result);
        return 0;
    }
    const Error& error = result.error();
    print_line({{"error", {{"message", error.message}, {"where", error.where}, {"nearest", error.nearest}}}});
    return wrong_input;
}

} // namespace

void declare_box(CLI::App& program, BoxOptions& options) {
    program.add_option("--memory-limit", options.memory_bytes_max, "bytes of memory; 0: no limit of its own")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    program
        .add_option("--allow-missing-isolation",
                    options.allow_missing,
                    "run although the kernel lacks these: landlock, seccomp")
        ->delimiter(',');
}

Result<UniqueFd> open_archive(const std::string& path) {
    UniqueFd archive{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!archive.valid()) {
        return Error{ErrorCode::not_found, "cannot read the model archive " + path, path};
    }
    return archive;
}

Result<void> close_the_box(const BoxOptions& options, int output) {
    worker::SandboxSpec spec;
    spec.output = output;
    spec.memory_bytes_max = options.memory_bytes_max;
    spec.allow_missing = options.allow_missing;
    if (auto warm = worker::warm_up_archives(); !warm) {
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

int answer(const BoxOptions& options, const std::function<Result<nlohmann::json>()>& action) {
    try {
        return print_answer(action());
    } catch (const std::bad_alloc&) {
        return print_answer(Error{ErrorCode::resource_exhausted,
                                  fmt::format("not enough memory for archive and input; the limit is {} MiB",
                                              options.memory_bytes_max >> 20U)});
    } catch (const std::exception& error) { // the last boundary
        return print_answer(Error{ErrorCode::unavailable, error.what()});
    }
}

} // namespace muster::app
