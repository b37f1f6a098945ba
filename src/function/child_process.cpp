#include "function/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

namespace muster::function {
namespace {

constexpr auto kill_grace = std::chrono::seconds{5};

std::string status_text(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = ::sigdescr_np(WTERMSIG(status)); // strsignal() shares its text among threads
        return fmt::format("signal {} ({})", WTERMSIG(status), name != nullptr ? name : "unknown");
    }
    return WEXITSTATUS(status) == 0 ? std::string{} : fmt::format("exit status {}", WEXITSTATUS(status));
}

/// Runs in the child between fork and exec: async-signal-safe calls only, nothing allocated.
[[noreturn]] void run_child(const ChildSpec& spec, char* const* argv, const std::vector<int>& procs, int report) {
    ::setpgid(0, 0);
    if (spec.end_with_parent) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    for (const int procs_fd : procs) {
        if (::write(procs_fd, "0", 1) != 1) {
            ::_exit(126);
        }
    }
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(spec.input >= 0 ? spec.input : null, STDIN_FILENO);
    ::dup2(spec.output >= 0 ? spec.output : null, STDOUT_FILENO);
    if (spec.errors >= 0) {
        ::dup2(spec.errors, STDERR_FILENO);
    }
    ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    for (const int fd : spec.descriptors) {
        ::fcntl(fd, F_SETFD, 0);
    }
    // The parent's handlers are still ours: a signal that came since the fork must end this process, not be eaten.
    for (const int number : {SIGPIPE, SIGINT, SIGTERM}) {
        ::signal(number, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    ::execv(argv[0], argv);
    const int reason = errno;
    (void)!::write(report, &reason, sizeof reason);
    ::_exit(127);
}

} // namespace

Result<ChildProcess> ChildProcess::start(const ChildSpec& spec) {
    std::vector<std::string> words{spec.program.string()};
    words.insert(words.end(), spec.arguments.begin(), spec.arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    const std::vector<int> procs = spec.cgroup != nullptr ? spec.cgroup->procs() : std::vector<int>{};
    int report[2];
    if (::pipe2(report, O_CLOEXEC) != 0) {
        return Error{ErrorCode::unavailable, "cannot make a pipe: " + std::system_category().message(errno)};
    }
    const UniqueFd read_end{report[0]};
    UniqueFd write_end{report[1]};
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before); // until the child has handlers of its own
    const pid_t pid = ::fork();
    if (pid == 0) {
        run_child(spec, argv.data(), procs, write_end.get());
    }
    const int fork_error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) {
        return Error{ErrorCode::unavailable, "cannot fork: " + std::system_category().message(fork_error)};
    }
    write_end.reset();
    ::setpgid(pid, pid); // whoever comes first
    UniqueFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
    ChildProcess child{pid, std::move(pidfd), Origin::started};
    int reason = 0;
    ssize_t got = 0;
    do {
        got = ::read(read_end.get(), &reason, sizeof reason);
    } while (got < 0 && errno == EINTR);
    if (got == sizeof reason) {
        return Error{ErrorCode::unavailable,
                     fmt::format("cannot start {}: {}", spec.program.string(), std::system_category().message(reason))};
    }
    if (!child.pidfd_.valid()) {
        return Error{ErrorCode::unavailable, "the kernel has no pidfd_open (Linux 5.3 or later is needed)"};
    }
    return child;
}

Result<ChildProcess> ChildProcess::adopt(const ProcessIdentity& identity) {
    auto pidfd = open_process(identity);
    if (!pidfd) {
        return std::move(pidfd).error();
    }
    return ChildProcess{identity.pid, std::move(*pidfd), Origin::adopted};
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)}, origin_{other.origin_}, pidfd_{std::move(other.pidfd_)},
      status_{std::move(other.status_)} {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
    if (this != &other) {
        end(kill_grace);
        pid_ = std::exchange(other.pid_, -1);
        origin_ = other.origin_;
        pidfd_ = std::move(other.pidfd_);
        status_ = std::move(other.status_);
    }
    return *this;
}

ChildProcess::~ChildProcess() {
    end(kill_grace);
}

Result<std::string> ChildProcess::wait(Deadline deadline) {
    if (status_) {
        return *status_;
    }
    for (;;) {
        pollfd entry{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
        const int ready = ::poll(&entry, 1, deadline.left_ms());
        if (ready > 0) {
            break;
        }
        if (ready == 0 || errno != EINTR) {
            return Error{ErrorCode::deadline_exceeded, fmt::format("process {} has not ended in time", pid_)};
        }
    }
    if (origin_ == Origin::adopted) {
        status_ = "exit status unknown, as a former agent had started it";
        return *status_;
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    status_ = status_text(status);
    return *status_;
}

void ChildProcess::signal(int number) const {
    if (origin_ == Origin::adopted) {
        ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
    } else {
        ::kill(-pid_, number);
    }
}

void ChildProcess::end(Duration grace) {
    if (pid_ < 0) {
        return;
    }
    if (!status_) {
        signal(SIGTERM);
        if (!wait(Deadline::after(grace))) {
            signal(SIGKILL);
            (void)wait(Deadline::after(kill_grace));
        }
    }
    signal(SIGKILL); // what else is left of the group
    pid_ = -1;
}

} // namespace muster::function
