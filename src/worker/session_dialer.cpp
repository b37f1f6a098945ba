#include "worker/session_dialer.h"

namespace muster::worker {

Result<UniqueFd> AgentDialer::dial(const std::string& address, Deadline deadline) {
    std::unique_lock lock{mutex_};
    const auto id = ++last_id_;
    const auto question = questions_.emplace(id, Question{address, deadline}).first;
    lock.unlock();
    wake_();
    lock.lock();
    answered_.wait_until(lock, deadline.at(), [&] { return question->second.answer.has_value() || !closed_.empty(); });
    auto answer = std::move(question->second.answer);
    questions_.erase(question);
    if (answer) {
        return std::move(*answer);
    }
    if (!closed_.empty()) {
        return Error{ErrorCode::unavailable, address + ": " + closed_};
    }
    return Error{ErrorCode::deadline_exceeded, address + ": the agent did not connect in time"};
}

std::vector<nlohmann::json> AgentDialer::take_questions() {
    const std::scoped_lock lock{mutex_};
    std::vector<nlohmann::json> taken;
    for (auto& [id, question] : questions_) {
        if (!question.asked) {
            question.asked = true;
            taken.push_back(
                {{"type", "dial"},
                 {"body", {{"id", id}, {"address", question.address}, {"timeout_ms", question.deadline.left_ms()}}}});
        }
    }
    return taken;
}

void AgentDialer::ask_again() {
    const std::scoped_lock lock{mutex_};
    for (auto& [id, question] : questions_) {
        question.asked = false;
    }
}

Result<void> AgentDialer::answer(const nlohmann::json& body, UniqueFd socket) {
    if (!body.is_object() || !body.contains("id") || !body["id"].is_number_integer() ||
        (body.contains("error") && !body["error"].is_string())) {
        return Error{ErrorCode::invalid_argument, "dialled: the body needs an id, and error is a text"};
    }
    const auto error = body.value("error", std::string{});
    const std::scoped_lock lock{mutex_};
    const auto question = questions_.find(body["id"].get<std::int64_t>());
    if (question == questions_.end()) {
        return {};
    }
    if (!error.empty()) {
        question->second.answer = Error{ErrorCode::unavailable, question->second.address + ": " + error};
    } else if (!socket.valid()) {
        question->second.answer = Error{ErrorCode::unavailable, question->second.address + ": no socket came"};
    } else {
        question->second.answer = std::move(socket);
    }
    answered_.notify_all();
    return {};
}

void AgentDialer::close(const std::string& reason) {
    const std::scoped_lock lock{mutex_};
    closed_ = reason;
    answered_.notify_all();
}

} // namespace muster::worker
