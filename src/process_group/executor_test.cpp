#include "process_group/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <optional>
#include <thread>

namespace muster::process_group {
namespace {

TEST(Executor, tasks_never_wait_for_each_other) {
    Executor executor;
    std::latch all{3};
    std::latch over{3};
    for (int i = 0; i < 3; ++i) {
        executor.run([&] {
            all.arrive_and_wait(); // returns only when three run at once
            over.count_down();
        });
    }
    over.wait();
    EXPECT_EQ(executor.threads(), 3U);
}

TEST(Executor, one_thread_serves_tasks_that_follow_each_other) {
    std::atomic<int> count{0};
    Executor executor;
    for (int i = 0; i < 100; ++i) {
        executor.run([&] { ++count; });
        const auto deadline = Deadline::after(std::chrono::seconds{10});
        while ((count <= i || executor.idle_threads() == 0) && !deadline.passed()) { // its thread may still turn round
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(count, 100);
    EXPECT_EQ(executor.threads(), 1U);
}

TEST(Executor, idle_threads_end) {
    Executor executor{std::chrono::milliseconds{1}};
    std::latch done{1};
    executor.run([&] { done.count_down(); });
    done.wait();
    const auto deadline = Deadline::after(std::chrono::seconds{10});
    while (executor.threads() > 0 && !deadline.passed()) {
        std::this_thread::yield();
    }
    EXPECT_EQ(executor.threads(), 0U);
    std::latch again{1};
    executor.run([&] { again.count_down(); });
    again.wait();
}

TEST(Executor, its_end_waits_for_tasks) {
    std::atomic<bool> done{false};
    std::latch started{1};
    std::latch go{1};
    std::optional<Executor> executor{std::in_place};
    executor->run([&] {
        started.count_down();
        go.wait();
        done = true;
    });
    started.wait();
    std::thread opener{[&] { go.count_down(); }};
    executor.reset();
    EXPECT_TRUE(done);
    opener.join();
}

TEST(Executor, a_task_may_hold_the_last_reference) {
    auto executor = std::make_shared<Executor>();
    std::latch done{1};
    std::latch go{1};
    executor->run([&done, &go, kept = executor]() mutable {
        go.wait();
        kept.reset();
        done.count_down();
    });
    executor.reset();
    go.count_down();
    done.wait();
}

} // namespace
} // namespace muster::process_group
