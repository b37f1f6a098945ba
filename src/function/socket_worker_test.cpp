#include "base/file.h"
#include "base/guarded.h"
#include "base/id.h"
#include "function/socket_worker.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <vector>

namespace muster::function {
namespace {

constexpr auto soon = std::chrono::seconds{10};

class KeptEvents final : public WorkerEvents {
public:
    void on_worker_message(const std::string& /*job*/, FromWorker message) override {
        messages.with([&](auto& list) { list.push_back(std::move(message)); });
    }
    void on_worker_exit(const std::string& job, const std::string& reason) override {
        exits.with([&](auto& list) { list.push_back(job + ": " + reason); });
    }
    /// Waits for the first entry of a list.
    template <typename T>
    static T first(Guarded<std::vector<T>>& list) {
        const Deadline deadline = Deadline::after(soon);
        while (list.with([](auto& items) { return items.empty(); })) {
            if (deadline.passed()) {
                ADD_FAILURE() << "nothing came";
                return {};
            }
            std::this_thread::yield();
        }
        return list.with([](auto& items) { return items.front(); });
    }
    Guarded<std::vector<FromWorker>> messages;
    Guarded<std::vector<std::string>> exits;
};

/// What a former agent has left: a folder, a process, and this test in the place of the worker's end of the socket.
class SocketWorkerTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::filesystem::create_directories(folder);
        ASSERT_TRUE(replace_file(folder / "worker.log", "the last words\n").ok());
        auto made = make_worker_socket(folder);
        ASSERT_TRUE(made.ok()) << made.error().text();
        listener = std::move(*made);
        auto started = ChildProcess::start({.program = "/bin/sleep", .arguments = {"1000"}});
        ASSERT_TRUE(started.ok());
        process.emplace(std::move(*started));
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    void leave_record(const ProcessIdentity& identity) {
        ASSERT_TRUE(write_job_file(folder, {.job = {.job = "j1", .state = "running"}, .worker = identity}).ok());
    }
    /// The worker's end of a connection.
    FrameSocket accept() {
        pollfd entry{.fd = listener.get(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds{soon}.count())), 1);
        return FrameSocket{UniqueFd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
    }
    bool alive() { return !process->wait(Deadline::after({})).ok(); }

    const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("muster-worker-" + random_hex(6));
    UniqueFd listener;
    std::optional<ChildProcess> process;
    KeptEvents events;
};

TEST_F(SocketWorkerTest, takes_a_living_worker_over_and_hears_and_ends_it) {
    leave_record(*identity_of(process->pid()));
    auto worker = SocketWorker::take_over("j1", folder, events);
    FrameSocket end = accept();
    ASSERT_TRUE(worker->send(WorkerStart{4}).ok());
    const auto order = end.receive(Deadline::after(soon));
    ASSERT_TRUE(order.ok() && *order);
    EXPECT_NE((**order).text.find("start"), std::string::npos);
    ASSERT_TRUE(end.send(wire::to_json(FromWorker{WorkerJoined{4}}).dump(), Deadline::after(soon)).ok());
    EXPECT_EQ(std::get<WorkerJoined>(KeptEvents::first(events.messages)).generation, 4);

    ASSERT_TRUE(worker->remember({.job = "j1", .generation = 4, .state = "done"}).ok());
    EXPECT_EQ(read_job_file(folder)->job.generation, 4);
    EXPECT_EQ(read_job_file(folder)->worker, *identity_of(process->pid()));
    EXPECT_TRUE(alive());
    worker.reset();
    EXPECT_FALSE(alive());
    EXPECT_FALSE(std::filesystem::exists(folder));
    EXPECT_TRUE(events.exits.with([](auto& list) { return list.empty(); })) << "its end was our own doing";
}

TEST_F(SocketWorkerTest, tells_of_the_end_of_a_worker_that_was_taken_over) {
    leave_record(*identity_of(process->pid()));
    const auto worker = SocketWorker::take_over("j1", folder, events);
    {
        const FrameSocket end = accept();
        process->end(soon);
    }
    const std::string exit = KeptEvents::first(events.exits);
    EXPECT_EQ(exit, "j1: exit status unknown, as a former agent had started it; last words: the last words ");
}

TEST_F(SocketWorkerTest, tells_at_once_that_a_worker_is_gone_and_keeps_its_files_until_the_end) {
    leave_record(*identity_of(process->pid()));
    process->end(soon);
    listener.reset();
    auto worker = SocketWorker::take_over("j1", folder, events);
    EXPECT_EQ(KeptEvents::first(events.exits), "j1: it was gone when the agent came back; last words: the last words ");
    EXPECT_FALSE(worker->send(WorkerLease{}).ok());
    EXPECT_TRUE(std::filesystem::exists(folder));
    worker.reset();
    EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(SocketWorkerTest, never_ends_a_process_that_only_has_the_number) {
    auto identity = *identity_of(process->pid());
    identity.start += "0";
    leave_record(identity);
    listener.reset();
    SocketWorker::take_over("j1", folder, events).reset();
    EXPECT_TRUE(alive());
    EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(SocketWorkerTest, ends_a_worker_without_a_record_by_its_socket) {
    ASSERT_TRUE(replace_file(folder / "job.json", "{").ok());
    auto worker = SocketWorker::take_over("j1", folder, events);
    FrameSocket end = accept();
    std::jthread stub{[&] { // ends as a worker does: on its order
        while (true) {
            const auto order = end.receive(Deadline::after(soon));
            if (!order || !*order || (**order).text.find("stop") != std::string::npos) {
                break;
            }
        }
        end = FrameSocket{UniqueFd{}};
    }};
    worker.reset();
    stub.join();
    EXPECT_FALSE(std::filesystem::exists(folder));
}

} // namespace
} // namespace muster::function
