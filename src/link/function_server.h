/// The producer's end of the control channel: one session for each connected function.
#pragma once

#include "base/clock.h"
#include "link/message_socket.h"
#include "port/function_link.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace muster::link {

/// Times of the channel. A function is silent when no message of any kind came.
struct FunctionServerSettings {
    std::chrono::milliseconds heartbeat_busy{200};
    std::chrono::milliseconds heartbeat_idle{2'000};
    std::chrono::milliseconds lost_after_busy{2'000}; ///< while the function reports jobs
    std::chrono::milliseconds lost_after_idle{7'000};
    std::chrono::milliseconds hello_max{5'000};     ///< from the connection to Hello
    std::chrono::milliseconds check_every{100};     ///< how often silence is looked for
    std::chrono::milliseconds recheck_every{5'000}; ///< how often it is asked whether a function is still allowed
};

/// Implements FunctionLink over sockets that rest hands over. Never blocks; safe from any thread.
/// The server that runs the sockets is stopped between stop() and the end of this object.
/// A message of a function is acknowledged when the producer has queued it; see envelope.h.
class FunctionServer final : public FunctionLink {
public:
    /// `clock` outlives this.
    FunctionServer(FunctionServerSettings settings, const Clock& clock);
    ~FunctionServer() override;

    /// Sets the producer's epoch and who hears the functions (outlives this), and starts looking for silent ones.
    /// Until then connections are refused. Call once.
    void start(std::int64_t epoch, FunctionEvents& events);
    /// Ends all connections without on_lost and refuses new ones. Harmless twice.
    void stop();

    /// Makes the session of a connection whose peer was authenticated and authorised as the function `dn`.
    /// `still_allowed` is asked every recheck_every on a thread of ours; its error ends the connection for good
    /// (revoked). Errors: unavailable, before start() and after stop().
    [[nodiscard]] Result<std::shared_ptr<SocketEvents>> accept(const std::string& dn,
                                                               std::function<Result<void>()> still_allowed = {});

    Result<void> send(const std::string& dn, const ToFunction& message) override;
    [[nodiscard]] bool connected(const std::string& dn) const override;
    void disconnect(const std::string& dn, const std::string& reason) override;

    /// Asks at once for every connection whether its function is still allowed, and ends those that are not. Asks on
    /// the caller's thread.
    void recheck();
    /// Ends the connection of a function, when there is one, and tells the producer that it will not come back.
    void revoke(const std::string& dn, const std::string& reason);

    /// Ends the connections that are silent for too long. Called by a thread of ours; public for tests.
    void step();

private:
    class Session;
    void joined(const std::shared_ptr<Session>& session);
    /// How a connection ended.
    enum class End { lost, revoked };
    void left(Session& session, const std::string& reason, End end = End::lost);
    void dismiss(Session& session, const std::string& reason, End end);
    void loop(const std::stop_token& stop);
    [[nodiscard]] std::vector<std::shared_ptr<Session>> sessions() const;
    /// The session of a function that said Hello, or null.
    [[nodiscard]] std::shared_ptr<Session> find(const std::string& dn) const;

    const FunctionServerSettings settings_;
    const Clock& clock_;
    std::atomic<FunctionEvents*> events_{nullptr};
    std::atomic<std::int64_t> epoch_{0};
    mutable std::mutex mutex_;                                ///< protects the two below
    std::map<std::string, std::shared_ptr<Session>> current_; ///< by DN: said Hello
    std::map<Session*, std::shared_ptr<Session>> strangers_;  ///< before Hello
    std::jthread watcher_;
};

} // namespace muster::link
