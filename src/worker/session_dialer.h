/// AgentDialer: connected sockets from the agent, because the worker's box forbids connect(). No torch.
#pragma once

#include "collective/group.h"

#include <nlohmann/json.hpp>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace muster::worker {

/// Turns a dial() on one thread into a question on the agent's socket, which another thread (the session's) serves:
///   worker -> agent  {"type": "dial", "body": {"id": 3, "address": "host:port", "timeout_ms": 900}}
///   agent -> worker  {"type": "dialled", "body": {"id": 3, "error": ""}}, one connected TCP socket beside it
///                    (SCM_RIGHTS); a text in "error" instead says why there is none.
/// A question that was under way when the agent's connection broke is asked again on the next. Safe from any thread.
class AgentDialer final : public collective::Dialer {
public:
    /// `wake` is called (from any thread) when there is something to ask.
    explicit AgentDialer(std::function<void()> wake) : wake_{std::move(wake)} {}

    /// Errors: deadline_exceeded, unavailable with the agent's words.
    Result<UniqueFd> dial(const std::string& address, Deadline deadline) override;

    /// Takes the questions that were not asked on this connection yet.
    [[nodiscard]] std::vector<nlohmann::json> take_questions();
    /// The connection is a new one: everything open is to be asked again.
    void ask_again();
    /// Serves an answer's body. `socket` is what came beside it. Errors: invalid_argument, when it is malformed.
    [[nodiscard]] Result<void> answer(const nlohmann::json& body, UniqueFd socket);
    /// Ends all waits, now and later.
    void close(const std::string& reason);

private:
    struct Question {
        std::string address;
        Deadline deadline;
        bool asked{false};
        std::optional<Result<UniqueFd>> answer{};
    };

    std::function<void()> wake_;
    std::mutex mutex_;
    std::condition_variable answered_;
    std::map<std::int64_t, Question> questions_;
    std::int64_t last_id_{0};
    std::string closed_{};
};

} // namespace muster::worker
