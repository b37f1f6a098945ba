#include "link/notification_sender.h"

#include "base/log.h"
#include "link/https_client.h"
#include "link/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace muster::link {
namespace {

constexpr std::size_t answer_bytes_max = 64U << 10U;

} // namespace

bool is_allowed_recipient(const std::string& recipient, const std::vector<std::string>& allowed) {
    return std::ranges::any_of(allowed, [&](const std::string& start) {
        if (start.empty() || !recipient.starts_with(start)) {
            return false;
        }
        constexpr std::string_view borders{"/?"};
        return recipient.size() == start.size() || borders.find(start.back()) != std::string_view::npos ||
               borders.find(recipient[start.size()]) != std::string_view::npos;
    });
}

/// One thread asks what is due and hands it out; the others deliver.
class NotificationSender::Impl {
public:
    Impl(NotificationSettings settings, std::function<tls::Context()> context, DeliverySource source)
        : settings_{std::move(settings)}, context_{std::move(context)}, source_{std::move(source)} {}

    void start() {
        threads_.emplace_back([this](const std::stop_token& stop) { collect(stop); });
        for (std::size_t i = 0; i < settings_.threads; ++i) {
            threads_.emplace_back([this](const std::stop_token& stop) { deliver(stop); });
        }
    }

    void wake() {
        const std::scoped_lock lock{mutex_};
        woken_ = true;
        changed_.notify_all();
    }

    void stop() {
        for (auto& thread : threads_) {
            thread.request_stop();
        }
        threads_.clear();
    }

private:
    void collect(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            {
                // Only now, before due() is asked: what was delivered while it is being asked must not come again.
                const std::scoped_lock lock{mutex_};
                for (const auto& key : finished_) {
                    taken_.erase(key);
                }
                finished_.clear();
            }
            std::vector<Delivery> due;
            try {
                due = source_.due(std::chrono::steady_clock::now());
            } catch (const std::exception& problem) {
                // The boundary of one tick: the source is a store that may be down now and back at the next.
                log::error("notifications cannot be read {}", log::field("reason", problem.what()));
            }
            std::unique_lock lock{mutex_};
            for (auto& delivery : due) {
                if (taken_.insert(delivery.key).second) {
                    waiting_.push_back(std::move(delivery));
                }
            }
            changed_.notify_all();
            changed_.wait_for(lock, stop, settings_.poll_every, [this] { return woken_; });
            woken_ = false;
        }
    }

    /// The first waiting delivery whose recipient is not kept busy. REQUIRES: the lock is held.
    [[nodiscard]] std::deque<Delivery>::iterator next() {
        return std::ranges::find_if(waiting_, [this](const Delivery& delivery) {
            const auto found = busy_.find(host_of(delivery));
            return found == busy_.end() || found->second < settings_.recipient_threads_max;
        });
    }

    static std::string host_of(const Delivery& delivery) {
        const auto url = parse_url(delivery.recipient);
        return url ? url->authority() : delivery.recipient;
    }

    void deliver(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            Delivery delivery;
            {
                std::unique_lock lock{mutex_};
                if (!changed_.wait(lock, stop, [this] { return next() != waiting_.end(); })) {
                    return;
                }
                const auto chosen = next();
                delivery = std::move(*chosen);
                waiting_.erase(chosen);
                ++busy_[host_of(delivery)];
            }
            const auto sent = send(delivery);
            report(delivery, sent);
            const std::scoped_lock lock{mutex_};
            finished_.push_back(delivery.key);
            if (--busy_[host_of(delivery)] == 0) {
                busy_.erase(host_of(delivery));
            }
            woken_ = woken_ || sent.ok(); // the next of the same order may be due now
            changed_.notify_all();
        }
    }

    [[nodiscard]] Result<void> send(const Delivery& delivery) {
        const auto url = parse_url(delivery.recipient);
        if (!url) {
            return url.error();
        }
        if (!is_allowed_recipient(delivery.recipient, settings_.recipients)) {
            return Error{ErrorCode::permission_denied,
                         "the recipient is not allowed by the producer's notification_recipients"};
        }
        auto client = client_of(*url);
        auto answer = client->request("POST",
                                      url->path,
                                      {{"Content-Type", "application/json"}},
                                      delivery.body,
                                      Deadline::after(settings_.answer_max));
        if (!answer) {
            return std::move(answer).error();
        }
        if (answer->status < 200 || answer->status >= 300) {
            return Error{ErrorCode::unavailable, fmt::format("answered {}", answer->status)};
        }
        keep(*url, std::move(client));
        return {};
    }

    /// A connection that stands, or a new one.
    [[nodiscard]] std::unique_ptr<HttpsClient> client_of(const Url& url) {
        {
            const std::scoped_lock lock{mutex_};
            if (const auto found = idle_.find(url.authority()); found != idle_.end()) {
                auto client = std::move(found->second);
                idle_.erase(found);
                return client;
            }
        }
        return std::make_unique<HttpsClient>(HttpsSettings{url.host, url.port, PeerCheck::host, answer_bytes_max},
                                             context_());
    }

    /// Keeps the connection for the next notification; a few of them, the others are closed.
    void keep(const Url& url, std::unique_ptr<HttpsClient> client) {
        const std::scoped_lock lock{mutex_};
        if (idle_.size() < 4 * settings_.threads) {
            idle_.insert_or_assign(url.authority(), std::move(client));
        }
    }

    void report(const Delivery& delivery, const Result<void>& sent) {
        try {
            if (sent) {
                source_.delivered(delivery.key);
                return;
            }
            log::warning("notification not delivered, it is tried again {} {}",
                         log::field("recipient", delivery.recipient),
                         log::field("reason", sent.error().text()));
            source_.failed(delivery.key, std::chrono::steady_clock::now());
        } catch (const std::exception& problem) {
            // The boundary of one delivery: at least once means that what cannot be recorded is sent again.
            log::error("notification cannot be recorded {} {}",
                       log::field("key", delivery.key),
                       log::field("reason", problem.what()));
        }
    }

    const NotificationSettings settings_;
    const std::function<tls::Context()> context_;
    const DeliverySource source_;

    std::mutex mutex_; ///< protects all below but the threads
    std::condition_variable_any changed_;
    bool woken_{false};
    std::deque<Delivery> waiting_;
    std::set<std::string> taken_;             ///< keys waiting or under way
    std::vector<std::string> finished_;       ///< keys to be taken out of taken_
    std::map<std::string, std::size_t> busy_; ///< deliveries under way, by host and port
    std::map<std::string, std::unique_ptr<HttpsClient>> idle_;

    std::vector<std::jthread> threads_;
};

NotificationSender::NotificationSender(NotificationSettings settings,
                                       std::function<tls::Context()> context,
                                       DeliverySource source)
    : impl_{std::make_unique<Impl>(std::move(settings), std::move(context), std::move(source))} {}

NotificationSender::~NotificationSender() {
    impl_->stop();
}

void NotificationSender::start() {
    impl_->start();
}

void NotificationSender::wake() {
    impl_->wake();
}

void NotificationSender::stop() {
    impl_->stop();
}

} // namespace muster::link
