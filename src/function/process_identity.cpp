#include "function/process_identity.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace muster::function {
namespace {

constexpr int start_time_field = 22; // of /proc/PID/stat, proc(5)
constexpr int fields_to_name = 2;    // the name stands in parentheses and may hold anything

Error gone(pid_t pid) {
    return {ErrorCode::not_found, fmt::format("process {} is gone", pid)};
}

/// Of a file in /proc, whose size nobody knows before; empty when it is not there.
std::string first_line(const std::string& path) {
    std::ifstream stream{path};
    std::string line;
    std::getline(stream, line);
    return line;
}

} // namespace

Result<ProcessIdentity> identity_of(pid_t pid) {
    const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
    const std::string stat = first_line(fmt::format("/proc/{}/stat", pid));
    std::istringstream fields{stat.substr(stat.rfind(')') + 1)}; // without a ')' the whole: too few fields
    std::string value;
    for (int field = fields_to_name; field < start_time_field; ++field) {
        fields >> value;
    }
    if (boot.empty() || !fields) {
        return gone(pid);
    }
    return ProcessIdentity{pid, fmt::format("{}/{}", boot, value)};
}

Result<UniqueFd> open_process(const ProcessIdentity& identity) {
    UniqueFd pidfd{identity.pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0)) : -1};
    if (!pidfd.valid()) {
        return gone(identity.pid);
    }
    // Only now: what has this start time is older than the descriptor, so the descriptor is of it.
    const auto found = identity_of(identity.pid);
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    if (!found || *found != identity || ::poll(&ended, 1, 0) != 0) {
        return gone(identity.pid);
    }
    return pidfd;
}

} // namespace muster::function
