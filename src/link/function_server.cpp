#include "link/function_server.h"

#include "base/assert.h"
#include "base/log.h"
#include "link/envelope.h"
#include "wire/messages.h"

#include <fmt/format.h>

#include <condition_variable>
#include <vector>

namespace muster::link {

/// One connection of a function. The socket owns it; its texts come one at a time.
class FunctionServer::Session final : public SocketEvents, public std::enable_shared_from_this<Session> {
public:
    Session(FunctionServer& owner, std::string dn, std::function<Result<void>()> still_allowed)
        : owner_{owner}, dn_{std::move(dn)}, still_allowed_{std::move(still_allowed)},
          checked_at_{owner.clock_.steady_now()}, heard_{owner.clock_.steady_now().time_since_epoch().count()} {}

    [[nodiscard]] const std::string& dn() const { return dn_; }
    [[nodiscard]] bool greeted() const { return greeted_; }

    void on_open(std::shared_ptr<MessageSocket> socket) override {
        peer_ = socket->peer();
        {
            const std::scoped_lock lock{mutex_};
            socket_ = std::move(socket);
        }
        const auto& settings = owner_.settings_;
        const Welcome welcome{owner_.epoch_, settings.heartbeat_busy.count(), settings.heartbeat_idle.count()};
        send(welcome);
    }

    void on_text(std::string text) override {
        heard_ = owner_.clock_.steady_now().time_since_epoch().count();
        auto taken = take(text);
        if (!taken) {
            log::warning("control channel: message refused {} {} {}",
                         log::field("function", dn_),
                         log::field("peer", peer_),
                         log::field("reason", taken.error().text()));
            close(taken.error().text());
        }
    }

    void on_closed(const std::string& reason) override {
        drop();
        owner_.left(*this, reason);
    }

    bool send(const ToFunction& message) {
        const std::scoped_lock lock{mutex_};
        return socket_ && socket_->send(seal(++last_id_, owner_.epoch_, wire::to_json(message)));
    }

    void close(const std::string& reason) {
        const std::scoped_lock lock{mutex_};
        if (socket_) {
            socket_->close(reason);
        }
    }

    /// Lets go of the socket, which holds us.
    void drop() {
        std::shared_ptr<MessageSocket> gone;
        const std::scoped_lock lock{mutex_};
        gone.swap(socket_);
    }

    [[nodiscard]] Duration silence(SteadyTime now) const { return now - SteadyTime{Duration{heard_.load()}}; }
    [[nodiscard]] Duration silence_max() const {
        const auto& settings = owner_.settings_;
        if (!greeted_) {
            return settings.hello_max;
        }
        return busy_ ? settings.lost_after_busy : settings.lost_after_idle;
    }

    /// Asks whether the function is still let in. Errors: those of the answer.
    [[nodiscard]] Result<void> still_allowed() const { return still_allowed_ ? still_allowed_() : Result<void>{}; }
    /// The same now and then; for the watcher's thread.
    Result<void> recheck(SteadyTime now) {
        if (now - checked_at_ < owner_.settings_.recheck_every) {
            return {};
        }
        checked_at_ = now;
        return still_allowed();
    }

private:
    Result<void> take(const std::string& text) {
        auto envelope = open_envelope(text);
        if (!envelope) {
            return std::move(envelope).error();
        }
        if (envelope->epoch > owner_.epoch_) {
            return Error{ErrorCode::conflict,
                         fmt::format("the function knows a newer producer (epoch {}) than this one (epoch {})",
                                     envelope->epoch,
                                     owner_.epoch_.load())};
        }
        auto message = wire::from_function_from_json(envelope->message);
        if (!message) {
            return std::move(message).error();
        }
        const bool acknowledge = greeted_ && !std::holds_alternative<Heartbeat>(*message);
        if (auto fits = look_at(*message); !fits) {
            return fits;
        }
        auto* const events = owner_.events_.load();
        if (events == nullptr) {
            return {};
        }
        events->on_message(dn_, std::move(*message));
        if (acknowledge) {
            const std::scoped_lock lock{mutex_};
            if (socket_) {
                socket_->send(seal_ack(owner_.epoch_, envelope->id));
            }
        }
        return {};
    }

    /// What the link itself takes from a message. Errors: Hello missing, repeated or for another DN.
    Result<void> look_at(const FromFunction& message) {
        const auto* const hello = std::get_if<Hello>(&message);
        if ((hello != nullptr) == greeted_) {
            return Error{ErrorCode::invalid_argument, "the first message, and no other, must be hello"};
        }
        if (const auto* const heartbeat = std::get_if<Heartbeat>(&message)) {
            busy_ = !heartbeat->jobs.empty();
        }
        if (hello == nullptr) {
            return {};
        }
        if (hello->dn != dn_) {
            return Error{ErrorCode::permission_denied,
                         fmt::format("hello is for '{}', but the certificate is of '{}'", hello->dn, dn_)};
        }
        busy_ = hello->busy || !hello->jobs.empty();
        greeted_ = true;
        owner_.joined(shared_from_this());
        log::info("function connected {} {} {}",
                  log::field("function", dn_),
                  log::field("peer", peer_),
                  log::field("version", hello->version));
        return {};
    }

    FunctionServer& owner_;
    const std::string dn_;
    const std::function<Result<void>()> still_allowed_;
    SteadyTime checked_at_; ///< of the watcher's thread
    std::string peer_{};
    std::atomic<bool> greeted_{false};
    std::atomic<bool> busy_{false};
    std::atomic<Duration::rep> heard_;
    std::mutex mutex_; ///< protects the two below
    std::shared_ptr<MessageSocket> socket_{};
    std::int64_t last_id_{0};
};

FunctionServer::FunctionServer(FunctionServerSettings settings, const Clock& clock)
    : settings_{settings}, clock_{clock} {}

FunctionServer::~FunctionServer() {
    stop();
}

void FunctionServer::start(std::int64_t epoch, FunctionEvents& events) {
    MUSTER_ASSERT(epoch > 0 && events_ == nullptr);
    epoch_ = epoch;
    events_ = &events;
    watcher_ = std::jthread{[this](const std::stop_token& stop) { loop(stop); }};
}

void FunctionServer::stop() {
    events_ = nullptr;
    if (watcher_.joinable()) {
        watcher_.request_stop();
        watcher_.join();
    }
    const auto leaving = sessions();
    {
        const std::scoped_lock lock{mutex_};
        current_.clear();
        strangers_.clear();
    }
    for (const auto& session : leaving) {
        session->close("the producer stops");
        session->drop();
    }
}

std::vector<std::shared_ptr<FunctionServer::Session>> FunctionServer::sessions() const {
    const std::scoped_lock lock{mutex_};
    std::vector<std::shared_ptr<Session>> all;
    for (const auto& [dn, session] : current_) {
        all.push_back(session);
    }
    for (const auto& [key, session] : strangers_) {
        all.push_back(session);
    }
    return all;
}

Result<std::shared_ptr<SocketEvents>> FunctionServer::accept(const std::string& dn,
                                                             std::function<Result<void>()> still_allowed) {
    if (events_ == nullptr) {
        return Error{ErrorCode::unavailable, "the producer is starting or stopping"};
    }
    auto session = std::make_shared<Session>(*this, dn, std::move(still_allowed));
    const std::scoped_lock lock{mutex_};
    strangers_.emplace(session.get(), session);
    return std::shared_ptr<SocketEvents>{std::move(session)};
}

std::shared_ptr<FunctionServer::Session> FunctionServer::find(const std::string& dn) const {
    const std::scoped_lock lock{mutex_};
    const auto found = current_.find(dn);
    return found == current_.end() ? nullptr : found->second;
}

Result<void> FunctionServer::send(const std::string& dn, const ToFunction& message) {
    const auto session = find(dn);
    if (!session) {
        return Error{ErrorCode::unavailable, fmt::format("function '{}' is not connected", dn)};
    }
    if (!session->send(message)) {
        return Error{ErrorCode::unavailable,
                     fmt::format("{} cannot be sent to '{}': its connection is closing, its queue is full, or the "
                                 "message is too long",
                                 wire::type_of(message),
                                 dn)};
    }
    return {};
}

bool FunctionServer::connected(const std::string& dn) const {
    return find(dn) != nullptr;
}

void FunctionServer::disconnect(const std::string& dn, const std::string& reason) {
    if (const auto session = find(dn)) {
        session->close(reason);
    }
}

void FunctionServer::joined(const std::shared_ptr<Session>& session) {
    std::shared_ptr<Session> old;
    {
        const std::scoped_lock lock{mutex_};
        strangers_.erase(session.get());
        auto& place = current_[session->dn()];
        old = std::exchange(place, session);
    }
    if (old) {
        old->close("replaced by a newer connection of the same function");
    }
}

void FunctionServer::left(Session& session, const std::string& reason, End end) {
    {
        const std::scoped_lock lock{mutex_};
        strangers_.erase(&session);
        const auto found = current_.find(session.dn());
        if (found == current_.end() || found->second.get() != &session) {
            return; // never said Hello, was replaced, or was given up before
        }
        current_.erase(found);
    }
    log::warning("function lost {} {}", log::field("function", session.dn()), log::field("reason", reason));
    if (auto* const events = events_.load()) {
        end == End::revoked ? events->on_revoked(session.dn(), reason) : events->on_lost(session.dn(), reason);
    }
}

/// In this order: the session's own thread notices the close and would say that it was lost. And now, not when a dead
/// connection has been closed.
void FunctionServer::dismiss(Session& session, const std::string& reason, End end) {
    left(session, reason, end);
    session.close(reason);
}

void FunctionServer::recheck() {
    for (const auto& session : sessions()) {
        if (const auto allowed = session->still_allowed(); !allowed) {
            dismiss(*session, allowed.error().text(), End::revoked);
        }
    }
}

void FunctionServer::revoke(const std::string& dn, const std::string& reason) {
    if (const auto session = find(dn)) {
        dismiss(*session, reason, End::revoked);
    } else if (auto* const events = events_.load()) {
        events->on_revoked(dn, reason); // its job is held for it while it is away
    }
}

void FunctionServer::step() {
    const auto now = clock_.steady_now();
    for (const auto& session : sessions()) {
        std::string reason;
        End end = End::lost;
        if (const auto silence = session->silence(now); silence > session->silence_max()) {
            reason =
                fmt::format("silent for {} ms", std::chrono::duration_cast<std::chrono::milliseconds>(silence).count());
        } else if (const auto allowed = session->recheck(now); !allowed) {
            reason = allowed.error().text();
            end = End::revoked;
        }
        if (!reason.empty()) {
            dismiss(*session, reason, end);
        }
    }
}

void FunctionServer::loop(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock{mutex};
    while (!stopped.wait_for(lock, stop, settings_.check_every, [] { return false; }) && !stop.stop_requested()) {
        step();
    }
}

} // namespace muster::link
