#include "worker/training_box.h"

#include "worker/compute_device.h"
#include "worker/sandbox_warm_up.h"

#include <utility>

namespace muster::worker {
namespace {

/// Torch's first backward begins a thread for each device that it knows, a driver begins its own: Landlock, which binds
/// a thread and those that it begins, comes first, and leaves open what both read.
Result<std::string> forbid_files_beside_a_driver(const SandboxSpec& spec, c10::Device device) {
    auto files = forbid_files(spec);
    if (!files) {
        return files;
    }
    if (auto started = start_device(device); !started) {
        return std::move(started).error();
    }
    if (auto warm = warm_up_alone(); !warm) {
        return std::move(warm).error();
    }
    return files;
}

Result<std::string> forbid_all_files(const SandboxSpec& spec) {
    if (auto warm = warm_up_alone(); !warm) {
        return std::move(warm).error();
    }
    return forbid_files(spec);
}

} // namespace

Result<std::string> close_training_box(SandboxSpec spec, c10::Device device, int threads) {
    spec.driver = driver_files(device);
    if (auto loaded = load_device(device); !loaded) {
        return std::move(loaded).error();
    }
    if (auto warm = warm_up_tls(); !warm) {
        return std::move(warm).error();
    }
    const auto files = spec.driver ? forbid_files_beside_a_driver(spec, device) : forbid_all_files(spec);
    if (!files) {
        return files;
    }
    if (auto warm = warm_up_threads(threads); !warm) {
        return std::move(warm).error();
    }
    const auto calls = forbid_calls(spec);
    return calls ? Result<std::string>{*files + " " + *calls} : calls;
}

} // namespace muster::worker
