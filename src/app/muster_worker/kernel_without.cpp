/// For tests: runs a program as if the kernel lacked a part: `kernel_without landlock|seccomp PROGRAM [ARGUMENT...]`.
/// The missing system calls fail with ENOSYS. Exit status 2: it could not be set up.
#include <linux/prctl.h>
#include <seccomp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

namespace {

bool forget(std::string_view part) {
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    const auto missing = SCMP_ACT_ERRNO(ENOSYS);
    int failed = 0;
    if (part == "landlock") {
        failed = seccomp_rule_add(filter, missing, SCMP_SYS(landlock_create_ruleset), 0);
    } else if (part == "seccomp") {
        failed = seccomp_rule_add(filter, missing, SCMP_SYS(seccomp), 0) != 0 ||
                 seccomp_rule_add(
                     filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)) != 0;
    } else {
        return false;
    }
    const bool done = failed == 0 && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return done;
}

} // namespace

int main(int count, char** values) {
    if (count < 3 || !forget(values[1])) {
        std::fputs("usage: kernel_without landlock|seccomp PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    ::execv(values[2], values + 2);
    std::perror(values[2]);
    return 2;
}
