#include "worker/sandbox.h"

#include "base/fd.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <system_error>

namespace muster::worker {

namespace {

constexpr std::array known_parts{"landlock", "seccomp"};
/// A model that is split over many functions is larger than the memory of the one that writes it.
constexpr std::int64_t file_bytes_per_memory_byte = 16;

std::string reason_of(int error) {
    return std::generic_category().message(error);
}

/// The answer for a part that is not there: fine when opted out of by name, else a refusal that says how.
Result<std::string> missing(const SandboxSpec& spec, const std::string& part, const std::string& why) {
    if (spec.driver) {
        return Error{ErrorCode::unavailable, "a worker with a GPU needs " + part + " in any case (" + why + ")"};
    }
    if (std::ranges::find(spec.allow_missing, part) != spec.allow_missing.end()) {
        return part + "=missing";
    }
    return Error{ErrorCode::unavailable,
                 "the worker's isolation needs " + part + " (" + why +
                     "); to run without it, opt in by name: " + "--allow-missing-isolation " + part};
}

Error failed(const std::string& what, int error) {
    return Error{ErrorCode::unavailable, "the worker's isolation failed: " + what + ": " + reason_of(error)};
}

Result<void> check_names(const SandboxSpec& spec) {
    for (const auto& name : spec.allow_missing) {
        if (std::ranges::find(known_parts, name) == known_parts.end()) {
            return not_allowed("--allow-missing-isolation", name, {known_parts.begin(), known_parts.end()});
        }
    }
    return {};
}

Result<void> set_limit(decltype(RLIMIT_CORE) resource, std::int64_t value, const char* name) {
    const rlimit limit{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
    if (::setrlimit(resource, &limit) != 0) {
        return failed(name, errno);
    }
    return {};
}

Result<void> give_up_privileges(const SandboxSpec& spec) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return failed("no_new_privs", errno);
    }
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) { // the job key is in memory: no core, no ptrace by the same user
        return failed("PR_SET_DUMPABLE", errno);
    }
    if (auto limit = set_limit(RLIMIT_CORE, 0, "RLIMIT_CORE"); !limit) {
        return limit;
    }
    if (spec.memory_bytes_max <= 0) {
        return {};
    }
    // RLIMIT_DATA makes an allocation fail cleanly (std::bad_alloc); the cgroup behind it kills.
    if (auto limit = set_limit(RLIMIT_DATA, spec.memory_bytes_max, "RLIMIT_DATA"); !limit) {
        return limit;
    }
    ::signal(SIGXFSZ, SIG_IGN); // a file that is too long is an error of the write, not the end
    return set_limit(RLIMIT_FSIZE, file_bytes_per_memory_byte * spec.memory_bytes_max, "RLIMIT_FSIZE");
}

/// Landlock's file rights at each ABI: 13 at 1, refer at 2, truncate at 3, ioctl_dev at 5.
std::uint64_t file_rights(long abi) {
    const int count = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    return (std::uint64_t{1} << count) - 1;
}

/// Grants rights to a file, or to a folder and all below. What is not there needs none.
Result<void> grant(int ruleset, const std::filesystem::path& path, std::uint64_t rights) {
    const UniqueFd place{::open(path.c_str(), O_PATH | O_CLOEXEC)};
    if (!place.valid()) {
        return errno == ENOENT ? Result<void>{} : failed("open " + path.string(), errno);
    }
    landlock_path_beneath_attr rule{};
    rule.allowed_access = rights;
    rule.parent_fd = place.get();
    if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        return failed("landlock_add_rule " + path.string(), errno);
    }
    return {};
}

/// Rights to what a GPU's driver uses. `handled` are the rights that the kernel knows.
Result<void> grant_driver(int ruleset, const DriverFiles& files, std::uint64_t handled) {
    constexpr std::uint64_t ioctl_of_devices = std::uint64_t{1} << 15; // from ABI 5
    constexpr std::uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE;
    for (const auto& device : files.devices) {
        const std::uint64_t rights = read | LANDLOCK_ACCESS_FS_WRITE_FILE | ioctl_of_devices;
        if (auto done = grant(ruleset, device, rights & handled); !done) {
            return done;
        }
    }
    for (const auto& place : files.readable) {
        const bool folder = std::filesystem::is_directory(place);
        if (auto done = grant(ruleset, place, folder ? read | LANDLOCK_ACCESS_FS_READ_DIR : read); !done) {
            return done;
        }
    }
    return {};
}

/// Rights are handled and none is granted, but for a GPU's driver. The struct grew with the ABI; Debian 12's header
/// knows the first field.
Result<std::string> landlock(const SandboxSpec& spec) {
    struct {
        std::uint64_t files;
        std::uint64_t network; ///< from ABI 4: bind, connect
        std::uint64_t scoped;  ///< from ABI 6: abstract Unix sockets, signals
    } rights{};
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        return missing(spec, "landlock", reason_of(errno));
    }
    rights.files = file_rights(abi);
    std::size_t size = sizeof rights.files;
    if (abi >= 4) {
        rights.network = 3;
        size += sizeof rights.network;
    }
    if (abi >= 6) {
        rights.scoped = 3;
        size += sizeof rights.scoped;
    }
    const UniqueFd ruleset{static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rights, size, 0))};
    if (!ruleset.valid()) {
        return failed("landlock_create_ruleset", errno);
    }
    if (spec.driver) {
        if (auto granted = grant_driver(ruleset.get(), *spec.driver, rights.files); !granted) {
            return std::move(granted).error();
        }
    }
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
        return failed("landlock_restrict_self", errno);
    }
    return "landlock=" + std::to_string(abi);
}

/// seccomp_init() gives nothing and no reason when the kernel lacks seccomp or the action that kills the process.
int why_no_filter() {
    const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? -ENOMEM : -errno;
}

/// A seccomp filter under construction; remembers the first failure.
class Filter {
public:
    Filter() : context_{seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release} {
        note(context_ ? seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1) : why_no_filter());
    }
    template <typename... Conditions>
    void allow(int call, Conditions... conditions) {
        add(SCMP_ACT_ALLOW, call, conditions...);
    }
    template <typename... Conditions>
    void add(std::uint32_t action, int call, Conditions... conditions) {
        if (error_ == 0) {
            const std::array<scmp_arg_cmp, sizeof...(conditions) + 1> list{conditions..., scmp_arg_cmp{}};
            note(seccomp_rule_add_array(context_.get(), action, call, sizeof...(conditions), list.data()));
        }
    }
    /// Puts the filter in force for all threads. Returns 0 or a negative errno.
    [[nodiscard]] int load() {
        if (error_ == 0) {
            note(seccomp_load(context_.get()));
        }
        return error_;
    }

private:
    void note(int result) {
        if (error_ == 0 && result != 0) {
            error_ = result;
        }
    }
    std::unique_ptr<void, decltype(&seccomp_release)> context_;
    int error_{0};
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
    return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp without(unsigned argument, std::uint64_t bits) {
    return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}
scmp_arg_cmp with_all(unsigned argument, std::uint64_t bits) {
    return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

void allow_descriptors(Filter& filter, const SandboxSpec& spec) {
    for (const int call : {SCMP_SYS(read),        SCMP_SYS(write),       SCMP_SYS(readv),     SCMP_SYS(writev),
                           SCMP_SYS(pread64),     SCMP_SYS(pwrite64),    SCMP_SYS(lseek),     SCMP_SYS(close),
                           SCMP_SYS(recvfrom),    SCMP_SYS(recvmsg),     SCMP_SYS(shutdown),  SCMP_SYS(getsockopt),
                           SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(poll),      SCMP_SYS(ppoll),
                           SCMP_SYS(epoll_wait),  SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_create1),
                           SCMP_SYS(eventfd2),    SCMP_SYS(pipe2)}) {
        filter.allow(call);
    }
    // MSG_FASTOPEN is a connect() in disguise.
    filter.allow(SCMP_SYS(sendto), without(3, MSG_FASTOPEN), equals(4, 0));
    filter.allow(SCMP_SYS(sendmsg), without(2, MSG_FASTOPEN));
    for (const int listener : spec.listeners) {
        filter.allow(SCMP_SYS(accept4), equals(0, static_cast<std::uint64_t>(listener)));
    }
    std::vector<int> truncated = spec.landing;
    truncated.insert(truncated.end(), {spec.output, spec.weights});
    for (const int file : truncated) {
        if (file >= 0) {
            filter.allow(SCMP_SYS(ftruncate), equals(0, static_cast<std::uint64_t>(file)));
            filter.allow(SCMP_SYS(fsync), equals(0, static_cast<std::uint64_t>(file)));
        }
    }
    for (const int command : {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC}) {
        filter.allow(SCMP_SYS(fcntl), equals(1, static_cast<std::uint64_t>(command)));
    }
    for (const int level : {SOL_SOCKET, static_cast<int>(IPPROTO_TCP)}) {
        filter.allow(SCMP_SYS(setsockopt), equals(1, static_cast<std::uint64_t>(level)));
    }
    filter.allow(SCMP_SYS(ioctl), equals(1, FIONBIO)); // OpenSSL's way to make a socket non-blocking
}

void allow_memory(Filter& filter) {
    filter.allow(SCMP_SYS(mmap), without(2, PROT_EXEC));
    filter.allow(SCMP_SYS(mprotect), without(2, PROT_EXEC));
    for (const int call : {SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise)}) {
        filter.allow(call);
    }
}

void allow_threads(Filter& filter) {
    for (const int call : {SCMP_SYS(futex),
                           SCMP_SYS(sched_yield),
                           SCMP_SYS(sched_getaffinity),
                           SCMP_SYS(getcpu),
                           SCMP_SYS(set_robust_list),
                           SCMP_SYS(rseq),
                           SCMP_SYS(gettid),
                           SCMP_SYS(getpid),
                           SCMP_SYS(geteuid),
                           SCMP_SYS(rt_sigaction),
                           SCMP_SYS(rt_sigprocmask),
                           SCMP_SYS(rt_sigreturn),
                           SCMP_SYS(sigaltstack),
                           SCMP_SYS(restart_syscall),
                           SCMP_SYS(exit),
                           SCMP_SYS(exit_group)}) {
        filter.allow(call);
    }
    // clone3 hides its flags behind a pointer; ENOSYS makes the C library use clone, whose flags can be looked at.
    filter.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
    filter.allow(SCMP_SYS(clone), with_all(0, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND));
    filter.allow(SCMP_SYS(tgkill), equals(0, static_cast<std::uint64_t>(::getpid()))); // abort()
    filter.allow(SCMP_SYS(prctl), equals(0, PR_SET_NAME));
}

void allow_questions(Filter& filter) {
    for (const int call : {SCMP_SYS(clock_gettime),
                           SCMP_SYS(clock_getres),
                           SCMP_SYS(clock_nanosleep),
                           SCMP_SYS(nanosleep),
                           SCMP_SYS(gettimeofday),
                           SCMP_SYS(time),
                           SCMP_SYS(getrandom),
                           SCMP_SYS(getrusage)}) {
        filter.allow(call);
    }
    filter.allow(SCMP_SYS(prlimit64), equals(2, 0)); // asking, not setting
}

scmp_arg_cmp at_most(unsigned argument, std::uint64_t value) {
    return {argument, SCMP_CMP_LE, value, 0};
}

/// Opening, where Landlock decides what, and the driver's own requests: those of its devices are of type 'F', those of
/// its unified memory small numbers.
void allow_driver(Filter& filter) {
    constexpr std::uint64_t type_bits = 0xFF00;
    constexpr std::uint64_t driver_type = std::uint64_t{'F'} << 8U;
    constexpr std::uint64_t unified_memory_max = 0xFF;
    constexpr std::array<std::uint64_t, 2> unified_memory_begin_and_end{0x3000'0001, 0x3000'0002};
    filter.allow(SCMP_SYS(ioctl), scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, type_bits, driver_type});
    filter.allow(SCMP_SYS(ioctl), at_most(1, unified_memory_max));
    for (const std::uint64_t request : unified_memory_begin_and_end) {
        filter.allow(SCMP_SYS(ioctl), equals(1, request));
    }
    for (const int call : {SCMP_SYS(open),
                           SCMP_SYS(openat),
                           SCMP_SYS(fstat),
                           SCMP_SYS(stat),
                           SCMP_SYS(newfstatat),
                           SCMP_SYS(statx),
                           SCMP_SYS(access),
                           SCMP_SYS(readlink),
                           SCMP_SYS(readlinkat),
                           SCMP_SYS(getdents64),
                           SCMP_SYS(get_mempolicy),
                           SCMP_SYS(mbind),
                           SCMP_SYS(getuid),
                           SCMP_SYS(uname),
                           SCMP_SYS(sysinfo),
                           SCMP_SYS(sched_setaffinity)}) {
        filter.allow(call);
    }
}

} // namespace

Result<std::string> forbid_files(const SandboxSpec& spec) {
    if (auto names = check_names(spec); !names) {
        return std::move(names).error();
    }
    const auto threads = std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {});
    if (threads != 1) {
        return Error{ErrorCode::conflict,
                     "the worker's isolation must begin with one thread, not " + std::to_string(threads)};
    }
    if (auto done = give_up_privileges(spec); !done) {
        return std::move(done).error();
    }
    return landlock(spec);
}

Result<std::string> forbid_calls(const SandboxSpec& spec) {
    Filter filter;
    allow_descriptors(filter, spec);
    allow_memory(filter);
    allow_threads(filter);
    allow_questions(filter);
    if (spec.driver) {
        allow_driver(filter);
    }
    const int error = filter.load();
    if (error == 0) {
        return std::string{"seccomp=on"};
    }
    // These: a kernel without it, or with too little of it. Anything else is a failure that no opt-in covers.
    if (error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP) {
        return missing(spec, "seccomp", reason_of(-error));
    }
    return failed("seccomp", -error);
}

} // namespace muster::worker
