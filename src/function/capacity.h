/// Finds out what this machine gives to workers: cgroup limits (v1 and v2), /proc and the file system.
#pragma once

#include "model/capacity.h"

#include <filesystem>
#include <optional>

namespace muster::function {

/// Where to look; tests give recorded trees.
struct MachineView {
    std::filesystem::path root{"/"};         ///< holds proc/ and sys/fs/cgroup/
    std::filesystem::path state_folder{"."}; ///< its file system's free bytes are the storage
};

/// What the configuration sets by hand, because it cannot be found out or should be less.
struct CapacityOverrides {
    std::optional<double> cpu_cores{};
    std::optional<std::int64_t> memory_bytes{};
    std::optional<std::int64_t> storage_bytes{};
    std::optional<int> gpu_count{};
    std::optional<int> dpu_count{};
    std::int64_t bandwidth_bits_per_second{};
};

/// Cores: the smallest of online cores and cgroup quota. Memory: the smaller of what is available and what the cgroup
/// leaves. GPUs: nvidia devices under dev/. Overrides win, but never above what the machine has.
[[nodiscard]] Capacity find_capacity(const MachineView& machine, const CapacityOverrides& overrides);

} // namespace muster::function
