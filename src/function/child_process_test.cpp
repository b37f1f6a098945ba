#include "base/id.h"
#include "function/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace muster::function {
namespace {

constexpr auto soon = std::chrono::seconds{10};

TEST(ChildProcess, reports_how_it_ended) {
    auto fine = ChildProcess::start({.program = "/bin/true"});
    ASSERT_TRUE(fine.ok());
    EXPECT_EQ(*fine->wait(Deadline::after(soon)), "");
    auto failed = ChildProcess::start({.program = "/bin/sh", .arguments = {"-c", "exit 3"}});
    EXPECT_EQ(*failed->wait(Deadline::after(soon)), "exit status 3");
    auto killed = ChildProcess::start({.program = "/bin/sh", .arguments = {"-c", "kill -9 $$"}});
    EXPECT_EQ(killed->wait(Deadline::after(soon))->substr(0, 8), "signal 9");
}

TEST(ChildProcess, says_why_it_cannot_start) {
    const auto none = ChildProcess::start({.program = "/nonexistent/muster-worker"});
    ASSERT_FALSE(none.ok());
    EXPECT_NE(none.error().message.find("No such file"), std::string::npos);
}

TEST(ChildProcess, keeps_only_the_descriptors_it_is_given) {
    const int secret = ::open("/dev/null", O_RDONLY); // inheritable on purpose
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    UniqueFd read_end{ends[0]};
    UniqueFd write_end{ends[1]};
    auto child = ChildProcess::start(
        {.program = "/bin/sh", .arguments = {"-c", "ls /proc/self/fd | wc -l"}, .output = write_end.get()});
    write_end.reset();
    char text[16]{};
    ASSERT_GT(::read(read_end.get(), text, sizeof text - 1), 0);
    EXPECT_EQ(std::atoi(text), 4) << "stdin, stdout, stderr and the one ls opens";
    ::close(secret);
}

TEST(ChildProcess, reads_what_it_is_given) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end{ends[0]};
    const UniqueFd write_end{ends[1]};
    auto child = ChildProcess::start(
        {.program = "/bin/sh", .arguments = {"-c", "read number; exit $number"}, .input = read_end.get()});
    ASSERT_TRUE(child.ok());
    ASSERT_EQ(::write(write_end.get(), "7\n", 2), 2);
    EXPECT_EQ(*child->wait(Deadline::after(soon)), "exit status 7");
}

TEST(ChildProcess, ends_the_whole_group) {
    auto child = ChildProcess::start(
        {.program = "/bin/sh", .arguments = {"-c", "trap '' TERM; /bin/sleep 1000 & wait; /bin/sleep 1000"}});
    ASSERT_TRUE(child.ok());
    const pid_t group = child->pid();
    child->end(std::chrono::milliseconds{50});
    const Deadline deadline = Deadline::after(soon);
    while (::kill(-group, 0) == 0 && !deadline.passed()) { // orphans are reaped by init, not by us
        ::usleep(1000);
    }
    EXPECT_NE(::kill(-group, 0), 0);
}

TEST(ChildProcess, can_be_taken_over_by_its_identity) {
    auto child = ChildProcess::start({.program = "/bin/sleep", .arguments = {"1000"}});
    ASSERT_TRUE(child.ok());
    auto adopted = ChildProcess::adopt(*identity_of(child->pid()));
    ASSERT_TRUE(adopted.ok()) << adopted.error().text();
    EXPECT_FALSE(adopted->wait(Deadline::after({})).ok());
    adopted->end(soon);
    EXPECT_EQ(child->wait(Deadline::after(soon))->substr(0, 9), "signal 15");
}

TEST(ChildProcess, of_another_with_the_same_number_is_not_touched) {
    auto child = ChildProcess::start({.program = "/bin/sleep", .arguments = {"1000"}});
    auto identity = *identity_of(child->pid());
    identity.start += "0"; // started at another time, or in another boot
    EXPECT_EQ(ChildProcess::adopt(identity).error().code, ErrorCode::not_found);
    EXPECT_FALSE(child->wait(Deadline::after({})).ok());
}

TEST(ChildProcess, that_has_ended_cannot_be_taken_over) {
    auto child = ChildProcess::start({.program = "/bin/sleep", .arguments = {"1000"}});
    const auto identity = *identity_of(child->pid());
    ASSERT_EQ(::kill(identity.pid, SIGKILL), 0);
    const Deadline deadline = Deadline::after(soon);
    while (ChildProcess::adopt(identity) && !deadline.passed()) { // a zombie, as nobody has waited for it
        std::this_thread::yield();
    }
    EXPECT_FALSE(ChildProcess::adopt(identity).ok());
    EXPECT_FALSE(ChildProcess::adopt({}).ok());
}

TEST(Cgroup, limits_the_cpu_where_it_may) {
    const std::string name = "muster-test-" + random_hex(6);
    auto group = Cgroup::create(name, {.cpu_cores = 0.25, .memory_bytes = 64 << 20});
    if (!group) {
        GTEST_SKIP() << "no control group may be made here: " << group.error().message;
    }
    auto child = ChildProcess::start(
        {.program = "/bin/sh", .arguments = {"-c", "grep -q " + name + " /proc/self/cgroup"}, .cgroup = &*group});
    ASSERT_TRUE(child.ok());
    EXPECT_EQ(*child->wait(Deadline::after(soon)), "") << "the child is not in its control group";
}

TEST(Cgroup, removes_what_a_former_agent_has_left_when_it_is_empty_and_marked) {
    const std::string mark = random_hex(4);
    const std::string name = "muster-test-" + random_hex(4) + "-";
    auto used = Cgroup::create(name + "used-" + mark, {.cpu_cores = 0.25, .memory_bytes = 64 << 20});
    auto other = Cgroup::create(name + "other-" + random_hex(4), {.cpu_cores = 0.25});
    auto empty = Cgroup::create(name + "empty-" + mark, {.cpu_cores = 0.25, .memory_bytes = 64 << 20});
    if (!used || !other || !empty) {
        GTEST_SKIP() << "no control group may be made here";
    }
    auto child = ChildProcess::start({.program = "/bin/sleep", .arguments = {"1000"}, .cgroup = &*used});
    ASSERT_TRUE(child.ok());
    EXPECT_EQ(Cgroup::remove_left(mark), static_cast<int>(empty->folders().size()));
    for (const auto& folder : empty->folders()) {
        EXPECT_FALSE(std::filesystem::exists(folder));
    }
    EXPECT_TRUE(std::filesystem::exists(used->folders().front()));
    EXPECT_TRUE(std::filesystem::exists(other->folders().front()));
}

} // namespace
} // namespace muster::function
