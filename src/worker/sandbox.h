/// The worker's box: after it, the process can compute and use the descriptors it holds, and nothing else.
///
/// A user's model archive is an untrusted program, so the box closes before one is looked at. Two steps, because
/// Landlock binds the calling thread and those it starts, while seccomp binds all threads of the process:
///   1. forbid_files() while the process has one thread: no_new_privs, not dumpable, no core, limits, Landlock;
///   2. sandbox_warm_up.h with the final number of threads (they inherit step 1);
///   3. forbid_calls(): the seccomp allow-list, for all threads; anything else kills the process.
/// training_box.h takes them in order. With a GPU (SandboxSpec::driver) the first step leaves those files open to all
/// threads, and the last one the calls that reach them. What a closed box still allows: docs/security.md. No torch.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::worker {

/// What a GPU's driver uses of the file system for as long as it computes: it opens its devices anew for each mapping.
struct DriverFiles {
    std::vector<std::filesystem::path> devices;  ///< read, written and asked by ioctl
    std::vector<std::filesystem::path> readable; ///< files, and folders with all below
};

struct SandboxSpec {
    std::vector<int> listeners{};             ///< listening sockets that may accept connections
    int output{-1};                           ///< a file that may be truncated
    int weights{-1};                          ///< another one
    std::vector<int> landing{};               ///< and those that rows are received in
    std::optional<DriverFiles> driver{};      ///< of the GPU that is used; then no part of the box may be missing
    std::int64_t memory_bytes_max{};          ///< RLIMIT_DATA, and of files a multiple of it; 0: as they are
    std::vector<std::string> allow_missing{}; ///< of "landlock", "seccomp": run without when the kernel lacks it
};

/// First step. Returns for the log what is in force, e.g. "landlock=7".
/// Errors: invalid_argument, for an unknown name in allow_missing; conflict, when the process has several threads;
/// unavailable, when a required part is missing and was not opted out of by name, or fails.
[[nodiscard]] Result<std::string> forbid_files(const SandboxSpec& spec);

/// Last step. Returns for the log what is in force, e.g. "seccomp=on". Errors: unavailable, as above.
[[nodiscard]] Result<std::string> forbid_calls(const SandboxSpec& spec);

} // namespace muster::worker
