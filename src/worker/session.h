/// Session: the worker's talk with its agent, and its lease. No torch.
#pragma once

#include "base/fd.h"
#include "base/frame_socket.h"
#include "base/guarded.h"
#include "worker/session_dialer.h"
#include "worker/session_job.h"

#include <chrono>
#include <deque>
#include <optional>
#include <string>

namespace muster::worker {

/// How a session ended; the numbers are the process's exit status.
enum class SessionEnd {
    done = 0, ///< the job is done, or the agent stopped it
    failed = 1,
    lease_expired = 5,
};

struct SessionSettings {
    int control_listener{-1};       ///< listening Unix socket; agents connect to it, one at a time
    std::chrono::seconds lease{30}; ///< until the first WorkerLease
    std::chrono::seconds linger{5}; ///< after Done or Failed was sent, for WorkerStop
    SessionJobSettings job{};
};

/// Serves the agent (frames: base/frame_socket.h; messages: wire/worker_messages.h and session_dialer.h; the whole:
/// api/worker-socket.md). When the agent's connection breaks, the job goes on and a new connection is accepted; it is
/// told the job's last state (Prepared, Calibrated, Joined, Done or Failed), so nothing is lost. Without an agent the
/// session lives until its lease ends. One thread.
class Session {
public:
    /// `data` outlives the session.
    Session(SessionSettings settings, const SessionData& data);

    /// Serves until the job has ended and its outcome was taken, the agent stops it, or the lease expires. What the
    /// job's thread does then is aborted, but not waited for: leave the process by std::_Exit.
    /// Throws std::system_error when the system refuses poll() or the listener.
    [[nodiscard]] SessionEnd run();

private:
    struct Outbox {
        std::deque<nlohmann::json> states;      ///< not yet given to a connection
        std::optional<nlohmann::json> progress; ///< the newest
        std::optional<nlohmann::json> last_state;
        std::optional<SessionEnd> outcome;
    };

    void end_overrun();
    void report(FromWorker message);
    void wake() const;
    void wait_for_events();
    void accept_agent();
    void drop_agent(const std::string& reason);
    void read_agent();
    void write_agent();
    void handle(Frame frame);
    void handle(ToWorker message);
    [[nodiscard]] std::optional<SessionEnd> end();

    SessionSettings settings_;
    UniqueFd wake_;
    Guarded<Outbox> outbox_;
    AgentDialer dialer_;
    std::optional<FrameSocket> agent_;
    Deadline lease_;
    std::optional<Deadline> linger_;
    std::optional<SessionEnd> stopped_;
    SessionJob job_;
};

} // namespace muster::worker
