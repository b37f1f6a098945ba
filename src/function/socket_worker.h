/// WorkerProcess by a process, its folder and its Unix socket; started here or by a former agent.
#pragma once

#include "base/fd.h"
#include "base/frame_socket.h"
#include "function/cgroup.h"
#include "function/child_process.h"
#include "function/job_file.h"
#include "port/worker_process.h"
#include "wire/worker_messages.h"

#include <atomic>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace muster::function {

/// Makes the listening socket of a worker in its folder. Errors: unavailable.
[[nodiscard]] Result<UniqueFd> make_worker_socket(const std::filesystem::path& folder);
/// Connects to it. Errors: unavailable, when nobody listens or the worker does not take it within 5 s.
[[nodiscard]] Result<UniqueFd> connect_to_worker(const std::filesystem::path& folder);

/// A worker and the thread that listens to it.
class SocketWorker final : public WorkerProcess {
public:
    /// What it owns from now on.
    struct Parts {
        std::filesystem::path folder; ///< removed at the end
        JobFile file;
        std::optional<Cgroup> cgroup{};        // before the process: that ends first
        std::optional<ChildProcess> process{}; ///< none: it has ended, or it is not known which it is
        std::optional<FrameSocket> socket{};   ///< none: on_worker_exit follows at once
    };

    /// `events` outlives the worker.
    SocketWorker(Parts parts, WorkerEvents& events);
    /// Takes over what lies in `folder`, which may be a living worker or what is left of one.
    [[nodiscard]] static std::unique_ptr<SocketWorker>
    take_over(const std::string& job, const std::filesystem::path& folder, WorkerEvents& events);
    ~SocketWorker() override;

    Result<void> send(const ToWorker& message) override;
    [[nodiscard]] std::filesystem::path model_file() const override { return parts_.folder / "model.pt"; }
    Result<void> remember(const JobRecord& record) override;

private:
    struct Dial {
        std::shared_ptr<std::atomic<bool>> finished;
        std::jthread thread;
    };

    void read(const std::stop_token& stop);
    void ended(const std::string& why);
    void handle(const std::string& text);
    void dial(const wire::DialRequest& request);
    void answer(const wire::DialAnswer& answer, int descriptor);
    void await_stranger();

    Parts parts_;
    std::string job_;
    WorkerEvents& events_;
    std::mutex send_mutex_;
    std::atomic<bool> quiet_{false};
    std::list<Dial> dials_; ///< of the reader's thread
    std::jthread reader_;   // last: it uses all of the above
};

} // namespace muster::function
