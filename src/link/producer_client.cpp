#include "link/producer_client.h"

#include "base/assert.h"
#include "base/log.h"
#include "link/blob_upload.h"
#include "link/envelope.h"
#include "wire/messages.h"

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <variant>

namespace muster::link {
namespace {

constexpr std::chrono::milliseconds full_queue_pause{20}; ///< before a full socket is tried again
constexpr std::chrono::seconds same_reason_logged_every{30};

/// What a socket told us.
struct Opened {
    std::shared_ptr<MessageSocket> socket;
};
struct Arrived {
    std::string text;
};
struct Closed {
    std::string reason;
};
using News = std::variant<Opened, Arrived, Closed>;

/// Where sockets leave their news for the client's thread.
struct Mailbox {
    std::mutex mutex; ///< protects all below
    std::condition_variable_any changed;
    std::deque<std::pair<std::uint64_t, News>> news; ///< with the number of the attempt
    bool urgent{false};                              ///< something new to send
    bool over{false};                                ///< the client is gone

    void put(std::uint64_t attempt, News item) {
        const std::scoped_lock lock{mutex};
        if (!over) {
            news.emplace_back(attempt, std::move(item));
            changed.notify_all();
        }
    }
};

/// The ear of one attempt.
class Listener final : public SocketEvents {
public:
    Listener(std::shared_ptr<Mailbox> mailbox, std::uint64_t attempt)
        : mailbox_{std::move(mailbox)}, attempt_{attempt} {}
    void on_open(std::shared_ptr<MessageSocket> socket) override { mailbox_->put(attempt_, Opened{std::move(socket)}); }
    void on_text(std::string text) override { mailbox_->put(attempt_, Arrived{std::move(text)}); }
    void on_closed(const std::string& reason) override { mailbox_->put(attempt_, Closed{reason}); }

private:
    std::shared_ptr<Mailbox> mailbox_;
    const std::uint64_t attempt_;
};

} // namespace

/// All decisions are made on one thread; send() only queues and wakes it.
class ProducerClient::Impl {
public:
    Impl(ProducerClientSettings settings,
         std::function<tls::Context()> context,
         std::int64_t epoch_seen,
         ProducerEvents& events)
        : settings_{std::move(settings)}, context_{std::move(context)}, events_{events}, epoch_{epoch_seen},
          dialer_{{.idle_max = settings_.producer_silent_max}}, pause_{settings_.backoff_first} {}

    ~Impl() {
        stop(Deadline::after(Duration{0}));
        const std::scoped_lock lock{mailbox_->mutex};
        mailbox_->over = true;
        mailbox_->news.clear();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void start() {
        MUSTER_ASSERT(!thread_.joinable());
        thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
    }

    void stop(Deadline deadline) {
        if (!thread_.joinable()) {
            return;
        }
        {
            std::unique_lock lock{mailbox_->mutex};
            emptied_.wait_until(lock, deadline.at(), [&] { return queue_.empty() || !up_; });
        }
        thread_.request_stop();
        thread_.join();
    }

    Result<void> send(const FromFunction& message) {
        auto json = wire::to_json(message);
        const auto* const progress = std::get_if<Progress>(&message);
        const std::scoped_lock lock{mailbox_->mutex};
        auto text = seal(last_id_ + 1, epoch_, std::move(json));
        if (text.size() > SocketLimits{}.text_bytes_max) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("a {} message of {} bytes does not fit a frame of {}",
                                     wire::type_of(message),
                                     text.size(),
                                     SocketLimits{}.text_bytes_max)};
        }
        if (progress != nullptr) {
            drop_progress(progress->job);
        }
        if (queue_.size() >= settings_.queue_messages_max || queued_bytes_ + text.size() > settings_.queue_bytes_max) {
            return Error{ErrorCode::resource_exhausted, "the queue to the producer is full; it is not answering"};
        }
        queued_bytes_ += text.size();
        queue_.push_back({++last_id_, std::move(text), progress != nullptr ? progress->job : std::string{}});
        mailbox_->urgent = true;
        mailbox_->changed.notify_all();
        return {};
    }

    [[nodiscard]] HttpsClient https() const {
        return HttpsClient{{settings_.producer.host, settings_.producer.port, PeerCheck::producer}, context_()};
    }
    [[nodiscard]] std::size_t upload_chunk_bytes() const { return settings_.upload_chunk_bytes; }
    [[nodiscard]] std::int64_t epoch() const { return epoch_; }
    [[nodiscard]] bool up() const { return up_; }

private:
    enum class State { down, dialling, greeting, up };

    /// A message the producer has not acknowledged.
    struct Queued {
        std::int64_t id{};
        std::string text{};
        std::string progress_of{}; ///< job, when a newer progress message may take its place
    };

    /// Forgets an unsent progress message of the job: a newer one says more. REQUIRES: the lock is held.
    void drop_progress(const std::string& job) {
        for (std::size_t at = queue_.size(); at > sent_; --at) {
            const auto item = queue_.begin() + static_cast<std::ptrdiff_t>(at - 1);
            if (item->progress_of == job) {
                queued_bytes_ -= item->text.size();
                queue_.erase(item);
                return;
            }
        }
    }

    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            std::deque<std::pair<std::uint64_t, News>> news;
            {
                std::unique_lock lock{mailbox_->mutex};
                mailbox_->changed.wait_until(
                    lock, stop, next_action(), [&] { return !mailbox_->news.empty() || mailbox_->urgent; });
                news.swap(mailbox_->news);
                if (std::exchange(mailbox_->urgent, false)) {
                    hurry();
                }
            }
            for (auto& [attempt, item] : news) {
                if (attempt == attempt_) { // others are of connections given up before
                    std::visit([this](auto& what) { hear(what); }, item);
                }
            }
            act(std::chrono::steady_clock::now());
        }
        if (socket_) {
            socket_->close("the function stops");
            socket_.reset();
        }
        up_ = false;
    }

    [[nodiscard]] SteadyTime next_action() const { return state_ == State::up ? std::min(beat_at_, send_at_) : at_; }

    void act(SteadyTime now) {
        if (state_ == State::down && now >= at_) {
            dial(now);
        } else if ((state_ == State::dialling || state_ == State::greeting) && now >= at_) {
            fail("the producer did not say welcome in time");
        } else if (state_ == State::up) {
            flush(now);
            if (now >= beat_at_) {
                beat(now);
            }
        }
    }

    void dial(SteadyTime now) {
        state_ = State::dialling;
        at_ = now + settings_.connect_max;
        ++attempt_;
        dialer_.dial(
            settings_.producer, context_(), settings_.connect_max, std::make_shared<Listener>(mailbox_, attempt_));
    }

    void hear(Opened& opened) {
        socket_ = std::move(opened.socket);
        state_ = State::greeting;
    }

    void hear(Closed& closed) { fail(closed.reason); }

    void hear(Arrived& arrived) {
        auto envelope = open_envelope(arrived.text);
        if (!envelope) {
            fail("the producer sent what is no message: " + envelope.error().text());
            return;
        }
        if (envelope->epoch < epoch_) {
            pause_ = settings_.backoff_longest;
            fail(fmt::format("this producer is out of date (epoch {}, {} was seen)", envelope->epoch, epoch_.load()));
            return;
        }
        if (const auto id = envelope->acknowledged()) {
            acknowledge(*id);
            return;
        }
        auto message = wire::to_function_from_json(envelope->message);
        if (!message) {
            fail("the producer sent what is no message: " + message.error().text());
        } else if (const auto* const welcome = std::get_if<Welcome>(&*message)) {
            greet(*welcome, envelope->epoch);
        } else if (state_ == State::up) {
            hurry();
            events_.on_message(std::move(*message));
        } else {
            fail("the producer did not say welcome first");
        }
    }

    /// Answers Welcome with Hello, and starts again with what was not acknowledged.
    void greet(const Welcome& welcome, std::int64_t epoch) {
        epoch_ = epoch;
        busy_every_ = std::chrono::milliseconds{std::max<std::int64_t>(welcome.heartbeat_busy_ms, 1)};
        idle_every_ = std::chrono::milliseconds{std::max<std::int64_t>(welcome.heartbeat_idle_ms, 1)};
        const auto hello = events_.make_hello();
        if (!socket_->send(seal(0, epoch_, wire::to_json(FromFunction{hello})))) {
            fail("hello cannot be sent");
            return;
        }
        const auto now = std::chrono::steady_clock::now();
        state_ = State::up;
        up_since_ = now;
        beat_at_ = now + (hello.busy || !hello.jobs.empty() ? busy_every_ : idle_every_);
        send_at_ = now;
        logged_reason_.clear();
        {
            const std::scoped_lock lock{mailbox_->mutex};
            sent_ = 0;
            up_ = true;
        }
        log::info(
            "connected to the producer {} epoch={}", log::field("producer", settings_.producer.authority()), epoch);
    }

    void acknowledge(std::int64_t id) {
        const std::scoped_lock lock{mailbox_->mutex};
        while (!queue_.empty() && queue_.front().id <= id && sent_ > 0) {
            queued_bytes_ -= queue_.front().text.size();
            queue_.pop_front();
            --sent_;
        }
        if (queue_.empty()) {
            emptied_.notify_all();
        }
    }

    void flush(SteadyTime now) {
        const std::scoped_lock lock{mailbox_->mutex};
        send_at_ = SteadyTime::max();
        while (sent_ < queue_.size()) {
            if (!socket_->send(queue_[sent_].text)) {
                send_at_ = now + full_queue_pause;
                return;
            }
            ++sent_;
        }
    }

    void beat(SteadyTime now) {
        const auto heartbeat = events_.make_heartbeat();
        beat_at_ = now + (heartbeat.jobs.empty() ? idle_every_ : busy_every_);
        // A full socket queue means that others bring signs of life, or nothing does; either way one beat is no loss.
        static_cast<void>(socket_->send(seal(0, epoch_, wire::to_json(FromFunction{heartbeat}))));
    }

    /// Something happens: the next heartbeat is due as if a job were running.
    void hurry() {
        beat_at_ = std::min(beat_at_, std::chrono::steady_clock::now() + busy_every_);
        send_at_ = SteadyTime{};
    }

    /// Gives the connection or the attempt up, and waits before the next.
    void fail(const std::string& reason) {
        ++attempt_; // what the old socket still says is no news
        if (socket_) {
            socket_->close(reason);
            socket_.reset();
        }
        const auto now = std::chrono::steady_clock::now();
        const bool was_up = state_ == State::up;
        if (was_up && now - up_since_ >= settings_.backoff_longest) {
            pause_ =
                settings_.backoff_first; // two agents of one name, that replace each other, must not do so in a hurry
        }
        {
            const std::scoped_lock lock{mailbox_->mutex};
            up_ = false;
            sent_ = 0;
            emptied_.notify_all();
        }
        state_ = State::down;
        std::uniform_real_distribution<double> jitter{0.5, 1.0};
        at_ = now + std::chrono::duration_cast<Duration>(pause_ * jitter(random_));
        pause_ = std::min(2 * pause_, settings_.backoff_longest);
        if (reason != logged_reason_ || now >= logged_at_ + same_reason_logged_every) {
            logged_reason_ = reason;
            logged_at_ = now;
            log::warning("no connection to the producer, trying again {} {}",
                         log::field("producer", settings_.producer.authority()),
                         log::field("reason", reason));
        }
        if (was_up) {
            events_.on_disconnected(reason);
        }
    }

    const ProducerClientSettings settings_;
    const std::function<tls::Context()> context_;
    ProducerEvents& events_;
    std::atomic<std::int64_t> epoch_;
    std::atomic<bool> up_{false};

    std::shared_ptr<Mailbox> mailbox_{std::make_shared<Mailbox>()};
    std::condition_variable_any emptied_; ///< the queue is empty, or the connection gone
    // Protected by the mailbox's mutex.
    std::deque<Queued> queue_;
    std::size_t queued_bytes_{0};
    std::size_t sent_{0}; ///< how many at the front of the queue were sent on this connection
    std::int64_t last_id_{0};

    // Of the thread alone.
    ControlDialer dialer_;
    State state_{State::down};
    std::shared_ptr<MessageSocket> socket_;
    std::uint64_t attempt_{0};
    SteadyTime at_{}; ///< next attempt, or end of this one
    SteadyTime up_since_{};
    SteadyTime beat_at_{SteadyTime::max()};
    SteadyTime send_at_{SteadyTime::max()};
    std::chrono::milliseconds pause_;
    std::chrono::milliseconds busy_every_{200};
    std::chrono::milliseconds idle_every_{2'000};
    std::string logged_reason_;
    SteadyTime logged_at_{};
    std::minstd_rand random_{std::random_device{}()};

    std::jthread thread_;
};

ProducerClient::ProducerClient(ProducerClientSettings settings,
                               std::function<tls::Context()> context,
                               std::int64_t epoch_seen,
                               ProducerEvents& events)
    : impl_{std::make_unique<Impl>(std::move(settings), std::move(context), epoch_seen, events)} {}

ProducerClient::~ProducerClient() = default;

void ProducerClient::start() {
    impl_->start();
}

void ProducerClient::stop(Deadline deadline) {
    impl_->stop(deadline);
}

Result<void> ProducerClient::send(const FromFunction& message) {
    return impl_->send(message);
}

Result<void> ProducerClient::download(const std::string& sha256,
                                      const std::filesystem::path& file,
                                      std::int64_t bytes_max,
                                      Deadline deadline) {
    return download_blob(impl_->https(), sha256, file, bytes_max, deadline);
}

Result<void> ProducerClient::upload(const std::filesystem::path& file, const std::string& sha256, Deadline deadline) {
    return upload_blob([this] { return impl_->https(); }, file, sha256, impl_->upload_chunk_bytes(), deadline);
}

std::int64_t ProducerClient::epoch() const {
    return impl_->epoch();
}

bool ProducerClient::connected() const {
    return impl_->up();
}

} // namespace muster::link
