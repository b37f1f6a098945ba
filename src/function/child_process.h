/// A child process in its own process group, with exactly the descriptors it is given.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "function/cgroup.h"
#include "function/process_identity.h"

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::function {

/// What to start.
struct ChildSpec {
    std::filesystem::path program;
    std::vector<std::string> arguments; ///< without the program's name
    std::vector<int> descriptors;       ///< kept open in the child under their numbers; all others are closed
    int input{-1};                      ///< becomes stdin; -1: /dev/null
    int output{-1};                     ///< becomes stdout; -1: /dev/null
    int errors{-1};                     ///< becomes stderr; -1: inherited
    const Cgroup* cgroup{nullptr};      ///< the child moves itself there before it runs
    bool end_with_parent{false};        ///< the kernel sends it SIGTERM when the thread that started it ends
};

/// Owns the process: its destructor ends the whole group and waits. One thread.
class ChildProcess {
public:
    /// Errors: unavailable, when the program cannot be started.
    [[nodiscard]] static Result<ChildProcess> start(const ChildSpec& spec);
    /// Takes over a process that another one has started. Its exit status is not known to us.
    /// Errors: not_found, when it has ended.
    [[nodiscard]] static Result<ChildProcess> adopt(const ProcessIdentity& identity);
    ~ChildProcess();
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&& other) noexcept;
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }
    /// A descriptor that becomes readable when the process ends (pidfd), for poll().
    [[nodiscard]] int ended_fd() const { return pidfd_.get(); }
    /// Waits until the process has ended; then its status as for people ("exit status 1", "signal 9 (Killed)"), empty
    /// for 0; of an adopted one that it is not known. Errors: deadline_exceeded.
    [[nodiscard]] Result<std::string> wait(Deadline deadline);
    /// Sends SIGTERM to the group, SIGKILL when it has not ended within `grace`, and waits. Of an adopted process only
    /// to itself: the number of a group cannot be checked.
    void end(Duration grace);

private:
    enum class Origin { started, adopted };
    ChildProcess(pid_t pid, UniqueFd pidfd, Origin origin) : pid_{pid}, origin_{origin}, pidfd_{std::move(pidfd)} {}
    void signal(int number) const;

    pid_t pid_{-1};
    Origin origin_{Origin::started};
    UniqueFd pidfd_;
    std::optional<std::string> status_;
};

} // namespace muster::function
