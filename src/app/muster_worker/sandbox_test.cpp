#include "base/fd.h"
#include "function/child_process.h"
#include "worker/sandbox.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <thread>

namespace muster::worker {
namespace {

std::string status_of(const char* deed, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{deed};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto child = function::ChildProcess::start({.program = MUSTER_SANDBOX_PROBE, .arguments = arguments});
    return child.value().wait(Deadline::after(std::chrono::seconds{60})).value();
}

class ForbiddenDeed : public ::testing::TestWithParam<const char*> {};

TEST_P(ForbiddenDeed, kills_the_process) {
    EXPECT_NE(status_of(GetParam()).find("signal 31"), std::string::npos) << status_of(GetParam());
}

std::string test_name(const ::testing::TestParamInfo<const char*>& info) {
    std::string name{info.param};
    std::replace(name.begin(), name.end(), ' ', '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Sandbox,
                         ForbiddenDeed,
                         ::testing::Values("open",
                                           "create",
                                           "stat",
                                           "unlink",
                                           "socket",
                                           "connect",
                                           "fast open",
                                           "bind",
                                           "accept elsewhere",
                                           "execve",
                                           "fork",
                                           "kill",
                                           "ptrace",
                                           "dumpable",
                                           "mmap exec",
                                           "mprotect exec",
                                           "memfd",
                                           "setrlimit",
                                           "open in another thread"),
                         test_name);

class AllowedDeed : public ::testing::TestWithParam<const char*> {};

TEST_P(AllowedDeed, still_works) {
    EXPECT_EQ(status_of(GetParam()), "");
}

INSTANTIATE_TEST_SUITE_P(
    Sandbox,
    AllowedDeed,
    ::testing::Values("compute", "accept", "receive a descriptor", "write output", "exceed memory"),
    test_name);

TEST(Sandbox, opens_to_a_gpus_driver_its_files_alone) {
    for (const char* deed :
         {"compute", "compute on the device", "write output", "read below a folder", "ask a device"}) {
        EXPECT_EQ(status_of(deed, {"driver"}), "") << deed;
    }
    for (const char* refused : {"open", "create", "open in another thread"}) {
        EXPECT_EQ(status_of(refused, {"driver"}), "exit status 1") << refused; // Landlock answers with EACCES
    }
    for (const char* fatal : {"unlink", "socket", "execve", "fork", "mmap exec", "memfd"}) {
        EXPECT_NE(status_of(fatal, {"driver"}).find("signal 31"), std::string::npos) << fatal;
    }
}

TEST(Sandbox, lets_a_bug_end_the_process_by_abort) {
    EXPECT_NE(status_of("abort").find("signal 6"), std::string::npos);
}

/// What the probe says on a kernel that lacks this part of the box.
std::string refusal_without(const std::string& part, const std::vector<std::string>& words) {
    const UniqueFd errors{::memfd_create("errors", MFD_CLOEXEC)};
    std::vector<std::string> arguments{part, MUSTER_SANDBOX_PROBE};
    arguments.insert(arguments.end(), words.begin(), words.end());
    auto child = function::ChildProcess::start(
        {.program = MUSTER_KERNEL_WITHOUT, .arguments = arguments, .errors = errors.get()});
    EXPECT_EQ(child.value().wait(Deadline::after(std::chrono::seconds{60})).value(), "exit status 3") << part;
    std::string text(4096, '\0');
    text.resize(static_cast<std::size_t>(::pread(errors.get(), text.data(), text.size(), 0)));
    return text;
}

TEST(Sandbox, does_not_close_on_a_kernel_without_a_part_and_says_how_to_do_without) {
    for (const std::string part : {"landlock", "seccomp"}) {
        const auto text = refusal_without(part, {"compute"});
        EXPECT_NE(text.find("--allow-missing-isolation " + part), std::string::npos) << text;
    }
}

TEST(Sandbox, with_a_gpu_does_without_no_part_whatever_was_opted_out_of) {
    for (const std::string part : {"landlock", "seccomp"}) {
        const auto text = refusal_without(part, {"compute", "driver"});
        EXPECT_NE(text.find("a worker with a GPU needs " + part), std::string::npos) << text;
    }
}

TEST(Sandbox, knows_what_may_be_opted_out_of) {
    const SandboxSpec spec{.allow_missing = {"landlok"}};
    const auto refused = forbid_files(spec);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().nearest, "landlock");
}

TEST(Sandbox, refuses_to_begin_with_several_threads) {
    std::jthread other{[](const std::stop_token& stop) {
        std::mutex mutex;
        std::unique_lock lock{mutex};
        std::condition_variable_any{}.wait(lock, stop, [] { return false; });
    }};
    const auto refused = forbid_files({});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::conflict);
}

} // namespace
} // namespace muster::worker
