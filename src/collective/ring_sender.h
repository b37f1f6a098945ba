/// RingSender: the one thread that writes to this rank's outgoing ring connection.
#pragma once

#include "base/clock.h"
#include "collective/connection.h"
#include "collective/frame.h"
#include "collective/schedule.h"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace muster::collective {

/// Sends the segments of a plan as soon as what they need was received. The thread is the only user of the
/// connection's TLS state while a job runs, so nothing locks around TLS. start(), received() and stop() are called by
/// the thread that runs the collective.
class RingSender {
public:
    struct Job {
        std::span<const std::byte> buffer; ///< lives until finished() or after stop()
        const RingPlan* plan{};            ///< as long
        Call call{};
        std::uint32_t first_step{}; ///< the step of the plan's first segment
        Deadline deadline;
    };

    /// `wake` is an eventfd that is written when a job ends. Both outlive the sender.
    RingSender(Connection& connection, int wake);
    /// Ends the thread; REQUIRES: no job is running, or the connection was shut down.
    ~RingSender();
    RingSender(const RingSender&) = delete;
    RingSender& operator=(const RingSender&) = delete;

    /// REQUIRES: no job is running.
    void start(Job job);
    /// Says how many segments of the plan were received (and reduced) by now.
    void received(std::size_t count);
    /// True when the job has ended, well or not.
    [[nodiscard]] bool finished();
    /// Why the job failed; none while it runs and when it went well.
    [[nodiscard]] std::optional<std::string> failure();
    /// Waits until a job no longer uses its buffer. REQUIRES: the connection was shut down.
    void stop();

private:
    void loop();
    /// Returns why it failed, or an empty text.
    std::string run(const Job& job);
    std::string send(const Job& job, std::size_t index);
    std::string write_all(std::span<const std::byte> data, Deadline deadline);
    bool wait_received(std::size_t count, Deadline deadline);

    Connection& connection_;
    int wake_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Job> job_{};             ///< under mutex_
    std::size_t received_{0};              ///< under mutex_
    bool stopping_{false};                 ///< under mutex_
    bool ending_{false};                   ///< under mutex_
    std::optional<std::string> failure_{}; ///< under mutex_
    std::vector<std::byte> staging_;
    std::thread thread_;
};

} // namespace muster::collective
