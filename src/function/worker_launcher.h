/// WorkerLauncher by the program muster-worker: own process group, control group, descriptors instead of files.
#pragma once

#include "port/worker_process.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace muster::function {

/// How workers are started at this function.
struct LauncherSettings {
    std::filesystem::path program;      ///< muster-worker
    std::filesystem::path state_folder; ///< job folders are made below it
    std::string data_host{"127.0.0.1"}; ///< address to listen on for peers
    std::uint16_t port_low{0};          ///< 0, 0: any free port
    std::uint16_t port_high{0};
    std::vector<std::string> advertised_hosts{}; ///< under which peers reach it; empty: data_host
    bool limit_by_cgroup{true};
    std::string device{"cpu"};                          ///< where workers train whole models: cpu, cuda, cuda:1
    std::vector<std::string> allow_missing_isolation{}; ///< parts the operator has opted out of by name
};

/// Also removes the empty control groups that a former agent of this state folder has left.
[[nodiscard]] std::unique_ptr<WorkerLauncher> worker_launcher(LauncherSettings settings);

} // namespace muster::function
