#include "function/capacity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> first_line(const fs::path& file) {
    std::ifstream stream{file};
    std::string line;
    return stream && std::getline(stream, line) ? std::optional{line} : std::nullopt;
}

std::optional<double> number(const std::string& text) {
    double value = 0.0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    return code == std::errc{} && end != text.data() ? std::optional{value} : std::nullopt;
}

/// Folders of this process's cgroup for a controller, from the leaf up to the root: limits hold at every level.
std::vector<fs::path> cgroup_folders(const fs::path& root, const std::string& controller) {
    std::ifstream stream{root / "proc/self/cgroup"};
    std::vector<fs::path> folders;
    for (std::string line; std::getline(stream, line);) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) {
            continue;
        }
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        const bool unified = controllers.empty();
        const bool named = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
        if (!unified && !named) {
            continue;
        }
        fs::path base = root / "sys/fs/cgroup";
        if (!unified) {
            base /= controller;
        }
        for (fs::path at = fs::path{path}.relative_path();; at = at.parent_path()) {
            folders.push_back(base / at);
            if (at.empty()) {
                break;
            }
        }
    }
    return folders;
}

double quota_cores(const fs::path& root) {
    double cores = std::numeric_limits<double>::infinity();
    for (const fs::path& folder : cgroup_folders(root, "cpu")) {
        if (const auto line = first_line(folder / "cpu.max")) { // v2: "max 100000" or "50000 100000"
            std::istringstream words{*line};
            std::string quota;
            std::string period;
            words >> quota >> period;
            if (const auto q = number(quota), p = number(period); q && p && *p > 0) {
                cores = std::min(cores, *q / *p);
            }
        }
        const auto quota = first_line(folder / "cpu.cfs_quota_us");
        const auto period = first_line(folder / "cpu.cfs_period_us");
        if (quota && period) {
            if (const auto q = number(*quota), p = number(*period); q && p && *q > 0 && *p > 0) {
                cores = std::min(cores, *q / *p);
            }
        }
    }
    return cores;
}

double available_memory(const fs::path& root) {
    std::ifstream stream{root / "proc/meminfo"};
    std::string key;
    double kilobytes = 0.0;
    for (std::string line; std::getline(stream, line);) {
        std::istringstream words{line};
        if (words >> key >> kilobytes && key == "MemAvailable:") {
            return kilobytes * 1024.0;
        }
    }
    return 0.0;
}

double cgroup_memory(const fs::path& root) {
    double left = std::numeric_limits<double>::infinity();
    for (const fs::path& folder : cgroup_folders(root, "memory")) {
        for (const auto& [limit_file, usage_file] :
             {std::pair{"memory.max", "memory.current"}, std::pair{"memory.limit_in_bytes", "memory.usage_in_bytes"}}) {
            const auto limit = first_line(folder / limit_file);
            const auto usage = first_line(folder / usage_file);
            if (limit && usage) {
                if (const auto l = number(*limit), u = number(*usage); l && u && *l < 1e18) {
                    left = std::min(left, std::max(0.0, *l - *u));
                }
            }
        }
    }
    return left;
}

int online_cores(const fs::path& root) {
    std::ifstream stream{root / "proc/cpuinfo"};
    int cores = 0;
    for (std::string line; std::getline(stream, line);) {
        cores += line.starts_with("processor") ? 1 : 0;
    }
    return std::max(1, cores);
}

std::string cpu_model(const fs::path& root) {
    std::ifstream stream{root / "proc/cpuinfo"};
    for (std::string line; std::getline(stream, line);) {
        if (const auto colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos) {
            return line.substr(colon + 2);
        }
    }
    return {};
}

int gpus(const fs::path& root) {
    std::error_code code;
    int count = 0;
    for (const auto& entry : fs::directory_iterator{root / "dev", code}) {
        const std::string name = entry.path().filename();
        count += name.size() > 6 && name.starts_with("nvidia") &&
                 std::ranges::all_of(name.substr(6), [](char c) { return c >= '0' && c <= '9'; });
    }
    return count;
}

} // namespace

Capacity find_capacity(const MachineView& machine, const CapacityOverrides& overrides) {
    Capacity capacity;
    capacity.cpu_cores = std::min<double>(online_cores(machine.root), quota_cores(machine.root));
    if (overrides.cpu_cores) {
        capacity.cpu_cores = std::min(capacity.cpu_cores, *overrides.cpu_cores);
    }
    // Nine tenths: the kernel's estimate of what is available is not a promise.
    capacity.memory_bytes =
        static_cast<std::int64_t>(0.9 * std::min(available_memory(machine.root), cgroup_memory(machine.root)));
    if (overrides.memory_bytes) {
        capacity.memory_bytes = std::min(capacity.memory_bytes, *overrides.memory_bytes);
    }
    std::error_code code;
    const auto space = fs::space(machine.state_folder, code);
    capacity.storage_bytes = code ? 0 : static_cast<std::int64_t>(space.available);
    if (overrides.storage_bytes) {
        capacity.storage_bytes = std::min(capacity.storage_bytes, *overrides.storage_bytes);
    }
    capacity.gpu_count = overrides.gpu_count.value_or(gpus(machine.root));
    capacity.dpu_count = overrides.dpu_count.value_or(0); // nothing in /proc or /dev tells a DPU reliably
    capacity.bandwidth_bits_per_second = overrides.bandwidth_bits_per_second;
    capacity.cpu_model = cpu_model(machine.root);
    return capacity;
}

} // namespace muster::function
