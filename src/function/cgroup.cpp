#include "function/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace muster::function {
namespace {

namespace fs = std::filesystem;

constexpr long period_us = 10'000;
constexpr long quota_us_min = 1'000; // the kernel's own minimum

Result<void> write_value(const fs::path& file, const std::string& value) {
    const UniqueFd fd{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
        return Error{ErrorCode::unavailable,
                     fmt::format("cannot write {}: {}", file.string(), std::system_category().message(errno))};
    }
    return {};
}

long quota_of(double cores) {
    return std::max(quota_us_min, static_cast<long>(cores * static_cast<double>(period_us)));
}

struct Setting {
    fs::path file;
    std::string value;
};

/// The folder of our own cgroup below `controller`'s mount: children of it are ours to make.
fs::path own_path(const std::string& controller) {
    std::ifstream stream{"/proc/self/cgroup"};
    for (std::string line; std::getline(stream, line);) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const bool match = controller.empty()
                               ? controllers.empty()
                               : ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
        if (match) {
            return fs::path{line.substr(second + 1)}.relative_path();
        }
    }
    return {};
}

struct Parent {
    std::string controller; ///< empty: cgroup v2
    fs::path folder;
};

/// Where this process may make control groups.
std::vector<Parent> parents(const fs::path& root) {
    if (fs::exists(root / "cgroup.controllers")) {
        // No process may stay in an inner node that has controllers enabled, so a new one is a sibling of ours.
        return {{"", root / own_path("").parent_path()}};
    }
    return {{"cpu", root / "cpu" / own_path("cpu")}, {"memory", root / "memory" / own_path("memory")}};
}

std::vector<Setting> settings_of(const std::string& controller, const CgroupLimits& limits) {
    std::vector<Setting> settings;
    if (limits.cpu_cores > 0.0) {
        const long quota = quota_of(limits.cpu_cores);
        if (controller.empty()) {
            settings.push_back({"cpu.max", fmt::format("{} {}", quota, period_us)});
        } else if (controller == "cpu") {
            settings.push_back({"cpu.cfs_period_us", std::to_string(period_us)});
            settings.push_back({"cpu.cfs_quota_us", std::to_string(quota)});
        }
    }
    if (limits.memory_bytes > 0 && controller != "cpu") {
        settings.push_back(
            {controller.empty() ? "memory.max" : "memory.limit_in_bytes", std::to_string(limits.memory_bytes)});
    }
    return settings;
}

} // namespace

Result<Cgroup> Cgroup::create(const std::string& name, const CgroupLimits& limits, const fs::path& root) {
    struct Plan {
        fs::path folder;
        std::vector<Setting> settings;
    };
    std::vector<Plan> plans;
    for (const auto& [controller, folder] : parents(root)) {
        const std::vector<Setting> settings = settings_of(controller, limits);
        if (controller.empty() || !settings.empty()) {
            plans.push_back({folder / name, settings});
        }
    }
    Cgroup group;
    for (const Plan& plan : plans) {
        if (::mkdir(plan.folder.c_str(), 0755) != 0) {
            return Error{ErrorCode::unavailable,
                         fmt::format("cannot make the control group {}: {}",
                                     plan.folder.string(),
                                     std::system_category().message(errno))};
        }
        group.folders_.push_back(plan.folder);
        for (const Setting& setting : plan.settings) {
            if (auto written = write_value(plan.folder / setting.file, setting.value); !written) {
                return std::move(written).error();
            }
        }
        UniqueFd procs{::open((plan.folder / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
        if (!procs.valid()) {
            return Error{ErrorCode::unavailable, fmt::format("cannot open {}/cgroup.procs", plan.folder.string())};
        }
        group.procs_.push_back(std::move(procs));
    }
    return group;
}

Cgroup Cgroup::adopt(std::vector<fs::path> folders) {
    Cgroup group;
    group.folders_ = std::move(folders);
    return group;
}

int Cgroup::remove_left(const std::string& mark, const fs::path& root) {
    int removed = 0;
    std::vector<fs::path> left;
    std::error_code code; // what cannot be listed was not made by us
    for (const Parent& parent : parents(root)) {
        for (const auto& entry : fs::directory_iterator{parent.folder, code}) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with("muster-") && name.ends_with("-" + mark)) {
                left.push_back(entry.path());
            }
        }
    }
    for (const fs::path& folder : left) {
        removed += ::rmdir(folder.c_str()) == 0 ? 1 : 0; // the kernel refuses while a process is in it
    }
    return removed;
}

std::vector<int> Cgroup::procs() const {
    std::vector<int> descriptors;
    std::ranges::transform(procs_, std::back_inserter(descriptors), &UniqueFd::get);
    return descriptors;
}

void Cgroup::remove() noexcept {
    procs_.clear();
    for (const fs::path& folder : folders_) {
        ::rmdir(folder.c_str()); // a process that lingers keeps it until the next start of the agent
    }
    folders_.clear();
}

Cgroup::~Cgroup() {
    remove();
}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
    if (this != &other) {
        remove();
        folders_ = std::move(other.folders_);
        procs_ = std::move(other.procs_);
    }
    return *this;
}

} // namespace muster::function
