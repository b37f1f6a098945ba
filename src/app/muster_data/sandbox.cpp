#include "sandbox.h"

#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

namespace muster::app {

namespace {

Error refused(const std::string& what, int number) {
    return {ErrorCode::unavailable, "the kernel refused " + what + ": " + std::system_category().message(number)};
}

Result<void> limit(__rlimit_resource resource, std::uint64_t value, const char* what) {
    const rlimit both{value, value};
    return ::setrlimit(resource, &both) == 0 ? Result<void>{} : Result<void>{refused(what, errno)};
}

Result<void> filter_system_calls() {
    constexpr std::array denied{SCMP_SYS(socket),
                                SCMP_SYS(socketpair),
                                SCMP_SYS(connect),
                                SCMP_SYS(bind),
                                SCMP_SYS(listen),
                                SCMP_SYS(accept),
                                SCMP_SYS(accept4),
                                SCMP_SYS(execve),
                                SCMP_SYS(execveat),
                                SCMP_SYS(fork),
                                SCMP_SYS(vfork),
                                SCMP_SYS(ptrace),
                                SCMP_SYS(process_vm_readv),
                                SCMP_SYS(process_vm_writev),
                                SCMP_SYS(pidfd_getfd),
                                SCMP_SYS(mount),
                                SCMP_SYS(unshare),
                                SCMP_SYS(setns),
                                SCMP_SYS(bpf),
                                SCMP_SYS(io_uring_setup),
                                SCMP_SYS(kill),
                                SCMP_SYS(userfaultfd)};
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter{::seccomp_init(SCMP_ACT_ALLOW), ::seccomp_release};
    if (!filter) {
        return refused("a system call filter", ENOMEM);
    }
    for (const int call : denied) {
        if (const int error = ::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0); error != 0) {
            return refused("a rule of the system call filter", -error);
        }
    }
    const int error = ::seccomp_load(filter.get());
    return error == 0 ? Result<void>{} : Result<void>{refused("the system call filter", -error)};
}

} // namespace

Result<void> confine(std::uint64_t memory_bytes) {
    if (auto limited = limit(RLIMIT_CORE, 0, "a limit of core dumps"); !limited) {
        return limited;
    }
    if (auto limited = limit(RLIMIT_DATA, memory_bytes, "the memory limit"); !limited) {
        return limited;
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return refused("no_new_privs", errno);
    }
    return filter_system_calls();
}

} // namespace muster::app
