#include "worker/session.h"

#include "base/log.h"
#include "wire/worker_messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace muster::worker {

namespace {

constexpr int overrun_check_ms = 500; ///< how often a user's model is looked after
constexpr std::int64_t lease_seconds_max = 86'400;
constexpr auto send_wait_max = std::chrono::seconds{2}; ///< an agent that does not read is cut off

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

/// The other end of the control socket must be of the same user, or root.
bool is_own_user(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    static const uid_t own = ::geteuid();
    return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == own || peer.uid == 0);
}

} // namespace

Session::Session(SessionSettings settings, const SessionData& data)
    : settings_{settings}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}, dialer_{[this] { wake(); }},
      lease_{Deadline::after(settings.lease)}, job_{data, settings.job, dialer_, [this](FromWorker message) {
                                                        report(std::move(message));
                                                    }} {
    const int flags = ::fcntl(settings_.control_listener, F_GETFL);
    if (!wake_.valid() || flags < 0 || ::fcntl(settings_.control_listener, F_SETFL, flags | O_NONBLOCK) != 0) {
        throw_errno("prepare the control socket");
    }
}

SessionEnd Session::run() {
    while (true) {
        end_overrun();
        write_agent();
        if (const auto ended = end()) {
            job_.stop("the worker ends");
            dialer_.close("the worker ends");
            return *ended;
        }
        wait_for_events();
    }
}

/// The job's thread cannot be stopped: the job fails, and the process ends with everything in it.
void Session::end_overrun() {
    const bool ended = outbox_.with([](const Outbox& outbox) { return outbox.outcome.has_value(); });
    if (!ended && job_.overrun()) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(settings_.job.program_time).count();
        const std::string reason = "model: its program did not come back within " + std::to_string(seconds) + " s";
        log::error("the worker ends {}", log::field("reason", reason));
        report(Failed{.reason = reason});
    }
}

void Session::report(FromWorker message) {
    auto json = wire::to_json(message);
    outbox_.with([&](Outbox& outbox) {
        if (std::holds_alternative<Progress>(message)) {
            outbox.progress = std::move(json);
            return;
        }
        outbox.last_state = json;
        outbox.states.push_back(std::move(json));
        if (std::holds_alternative<Done>(message)) {
            outbox.outcome = SessionEnd::done;
        } else if (std::holds_alternative<Failed>(message)) {
            outbox.outcome = SessionEnd::failed;
        }
    });
    wake();
}

void Session::wake() const {
    const std::uint64_t one = 1;
    // A full counter (EAGAIN) is a wake-up as well.
    if (::write(wake_.get(), &one, sizeof one) < 0 && errno != EAGAIN) {
        throw_errno("wake the session");
    }
}

void Session::wait_for_events() {
    std::array<pollfd, 3> entries{{{settings_.control_listener, POLLIN, 0}, {wake_.get(), POLLIN, 0}, {-1, POLLIN, 0}}};
    if (agent_) {
        entries[2].fd = agent_->fd();
    }
    int wait_ms = linger_ ? std::min(lease_.left_ms(), linger_->left_ms()) : lease_.left_ms();
    if (settings_.job.program >= 0) {
        wait_ms = std::min(wait_ms, overrun_check_ms);
    }
    if (::poll(entries.data(), entries.size(), wait_ms) < 0 && errno != EINTR) {
        throw_errno("poll");
    }
    if ((entries[1].revents & POLLIN) != 0) {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count); // only the wake-up counts
    }
    if (agent_ && entries[2].revents != 0) {
        read_agent();
    }
    if ((entries[0].revents & POLLIN) != 0) {
        accept_agent();
    }
}

void Session::accept_agent() {
    UniqueFd socket{::accept4(settings_.control_listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!socket.valid()) {
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
            throw_errno("accept the agent");
        }
        return;
    }
    if (!is_own_user(socket.get())) {
        log::warning("another user's process tried the worker's control socket, check the folder's permissions");
        return;
    }
    if (agent_) {
        drop_agent("another connection came");
    }
    agent_.emplace(std::move(socket));
    dialer_.ask_again();
    outbox_.with([](Outbox& outbox) {
        outbox.states.clear();
        if (outbox.last_state) {
            outbox.states.push_back(*outbox.last_state);
        }
    });
    log::info("agent connected");
}

void Session::drop_agent(const std::string& reason) {
    agent_.reset();
    linger_.reset();
    log::warning("the agent is gone, the job goes on until its lease ends: start the agent again {} seconds={}",
                 log::field("reason", reason),
                 std::chrono::duration_cast<std::chrono::seconds>(lease_.left()).count());
}

void Session::read_agent() {
    while (agent_) {
        auto frame = agent_->receive(Deadline::after({})); // what is there; poll() tells of the rest
        if (!frame) {
            return drop_agent(frame.error().message);
        }
        if (!*frame) {
            return;
        }
        handle(std::move(**frame));
    }
}

void Session::write_agent() {
    if (!agent_) {
        return;
    }
    std::deque<nlohmann::json> messages;
    bool ended = false;
    outbox_.with([&](Outbox& outbox) {
        if (outbox.progress) {
            messages.push_back(std::move(*outbox.progress));
            outbox.progress.reset();
        }
        std::ranges::move(outbox.states, std::back_inserter(messages));
        outbox.states.clear();
        ended = outbox.outcome.has_value();
    });
    std::ranges::move(dialer_.take_questions(), std::back_inserter(messages));
    for (const auto& message : messages) {
        if (auto sent = agent_->send(message.dump(), Deadline::after(send_wait_max)); !sent) {
            return drop_agent(sent.error().message);
        }
    }
    if (ended && !linger_) {
        linger_ = Deadline::after(settings_.linger);
    }
}

void Session::handle(Frame frame) {
    const auto json = nlohmann::json::parse(frame.text, nullptr, false);
    if (json.is_object() && json.value("type", nlohmann::json{}) == "dialled") {
        const auto answered = dialer_.answer(json.value("body", nlohmann::json{}), std::move(frame.descriptor));
        if (!answered) {
            report(Failed{.reason = "the agent's message: " + answered.error().text()});
        }
        return;
    }
    auto message = wire::to_worker_from_json(json);
    if (!message) {
        // Agent and worker are of different versions: no job can come of that.
        log::error("the agent's message was not understood: install one version of both {}",
                   log::field("reason", message.error().text()));
        report(Failed{.reason = "the agent's message: " + message.error().text()});
        return;
    }
    handle(std::move(*message));
}

void Session::handle(ToWorker message) {
    if (auto* prepare = std::get_if<WorkerPrepare>(&message)) {
        job_.prepare(std::move(*prepare));
    } else if (auto* calibrate = std::get_if<WorkerCalibrate>(&message)) {
        job_.calibrate(std::move(*calibrate));
    } else if (auto* commit = std::get_if<WorkerCommit>(&message)) {
        job_.commit(std::move(*commit));
    } else if (const auto* start = std::get_if<WorkerStart>(&message)) {
        job_.start(*start);
    } else if (const auto* lease = std::get_if<WorkerLease>(&message)) {
        const auto seconds = std::clamp<std::int64_t>(lease->lease_seconds, 0, lease_seconds_max);
        lease_ = Deadline::after(std::chrono::seconds{seconds});
    } else if (const auto* stop = std::get_if<WorkerStop>(&message)) {
        log::info("stopped by the agent {}", log::field("reason", stop->reason));
        job_.stop(stop->reason);
        stopped_ = SessionEnd::done;
    }
}

std::optional<SessionEnd> Session::end() {
    const auto outcome = outbox_.with([](const Outbox& outbox) { return outbox.outcome; });
    if (stopped_) {
        return outcome ? outcome : stopped_;
    }
    if (outcome && linger_ && linger_->passed()) {
        return outcome;
    }
    if (!lease_.passed()) {
        return std::nullopt;
    }
    if (outcome) {
        log::warning("nobody took the job's outcome before the lease ended");
        return outcome;
    }
    log::error("the lease expired: no agent has prolonged it, the worker ends");
    return SessionEnd::lease_expired;
}

} // namespace muster::worker
