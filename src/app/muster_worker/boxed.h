/// What the sub-commands of muster-worker that look at an archive in the box share.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace muster::app {

/// How the box is closed.
struct BoxOptions {
    std::int64_t memory_bytes_max{std::int64_t{8} << 30U};
    std::vector<std::string> allow_missing{};
};

/// Adds --memory-limit and --allow-missing-isolation.
void declare_box(CLI::App& program, BoxOptions& options);

/// Opens an archive for reading. Errors: not_found.
[[nodiscard]] Result<UniqueFd> open_archive(const std::string& path);

/// Archives and tables are untrusted: from here on the process has its open files and nothing else. It may sync and
/// truncate `output`, if there is one. Errors: worker/sandbox.h.
[[nodiscard]] Result<void> close_the_box(const BoxOptions& options, int output = -1);

/// Runs `action` and prints what it gives, or {"error": {"message", "where", "nearest"}}, as one line on stdout.
/// Returns the exit code: 0, or 4 for an error. The last boundary: it throws only when stdout cannot be written.
[[nodiscard]] int answer(const BoxOptions& options, const std::function<Result<nlohmann::json>()>& action);

} // namespace muster::app
