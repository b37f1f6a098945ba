/// For tests: a muster-worker process and the agent's end of its socket.
#pragma once

#include "base/frame_socket.h"
#include "function/child_process.h"
#include "model/recipe.h"
#include "port/worker_process.h"
#include "process_group/loopback_groups.h"

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace muster::app::testing {

/// A recipe for the small made-up matrix of WorkerDriver: y = 2 a - b.
[[nodiscard]] Recipe small_recipe(std::int64_t epochs);

/// Generation `generation` of `job` for one function alone.
[[nodiscard]] Roster roster_of_one(std::int64_t generation);

/// Starts a worker on a matrix of `rows` rows and talks to it; the worker keeps `descriptors`. One thread. Throws
/// std::runtime_error when the worker does not do what is waited for within a minute.
class WorkerDriver {
public:
    static constexpr std::int64_t rows = 2'000;

    explicit WorkerDriver(const std::vector<std::string>& more_arguments = {},
                          const std::vector<int>& descriptors = {});
    ~WorkerDriver();

    /// Connects as a new agent.
    void connect();
    /// Closes the agent's end.
    void disconnect();
    void send(const ToWorker& message);
    void send_text(const std::string& text);
    /// Serves dials until a T comes, and returns it; other messages are kept in `skipped`. Failed is an exception
    /// unless it is what is waited for.
    template <typename T>
    T wait_for() {
        while (true) {
            auto message = next();
            if (auto* wanted = std::get_if<T>(&message)) {
                return std::move(*wanted);
            }
            if (const auto* failed = std::get_if<Failed>(&message)) {
                throw std::runtime_error{"the worker failed: " + failed->reason};
            }
            skipped.push_back(std::move(message));
        }
    }
    /// Waits for the end of the process; returns its status as ChildProcess says it, "" for 0.
    [[nodiscard]] std::string wait_exit();
    /// What the worker wrote to stderr so far.
    [[nodiscard]] std::string log() const;
    [[nodiscard]] std::filesystem::path model() const { return folder_ / "model.pt"; }
    [[nodiscard]] const process_group::testing::Listener& peers() const { return peers_; }

    std::vector<FromWorker> skipped{};

private:
    [[nodiscard]] FromWorker next();
    void answer_dial(const std::string& text);

    std::filesystem::path folder_;
    process_group::testing::Listener peers_;
    std::optional<function::ChildProcess> child_;
    std::optional<FrameSocket> socket_;
};

} // namespace muster::app::testing
