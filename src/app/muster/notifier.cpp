#include "app/muster/notifier.h"

#include "base/log.h"
#include "link/https_client.h"
#include "link/url.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace muster::app {
namespace {

constexpr auto delivery_timeout = std::chrono::seconds{5};
constexpr auto idle_wait = std::chrono::seconds{1};

class HttpsNotifier final : public Notifier {
public:
    HttpsNotifier(tls::Context context, producer::Outbox& outbox, const Clock& clock)
        : context_{std::move(context)}, outbox_{outbox}, clock_{clock} {
        outbox_.on_news([this] {
            const std::scoped_lock lock{mutex_};
            news_ = true;
            wake_.notify_one();
        });
        thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
    }
    ~HttpsNotifier() override { outbox_.on_news({}); }

private:
    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            for (const producer::Notification& notification : outbox_.due(clock_.steady_now())) {
                deliver(notification);
            }
            std::unique_lock lock{mutex_};
            wake_.wait_for(lock, stop, idle_wait, [this] { return news_; });
            news_ = false;
        }
    }

    void deliver(const producer::Notification& notification) {
        auto posted = post(notification);
        if (posted) {
            outbox_.delivered(notification.key);
            return;
        }
        log::warning("notification is not taken, it is sent again recipient={} {}",
                     notification.recipient,
                     log::field("reason", posted.error().text()));
        outbox_.failed(notification.key, clock_.steady_now());
    }

    Result<void> post(const producer::Notification& notification) {
        auto url = link::parse_url(notification.recipient);
        if (!url) {
            return std::move(url).error();
        }
        link::HttpsClient https{{.host = url->host, .port = url->port, .peer = link::PeerCheck::host}, context_};
        auto answer = https.request("POST",
                                    url->path,
                                    {{"Content-Type", "application/json"}},
                                    notification.body,
                                    Deadline::after(delivery_timeout));
        if (!answer) {
            return std::move(answer).error();
        }
        if (answer->status < 200 || answer->status > 299) {
            return Error{ErrorCode::unavailable, "it answers " + std::to_string(answer->status)};
        }
        return {};
    }

    tls::Context context_;
    producer::Outbox& outbox_;
    const Clock& clock_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    bool news_{false};
    std::jthread thread_;
};

} // namespace

Result<std::unique_ptr<Notifier>>
start_notifier(const ProducerConfig& config, producer::Outbox& outbox, const Clock& clock) {
    auto credentials = load(config.credentials);
    if (!credentials) {
        return std::move(credentials).error();
    }
    auto context = tls::Context::client(*credentials);
    if (!context) {
        return std::move(context).error();
    }
    return std::unique_ptr<Notifier>{std::make_unique<HttpsNotifier>(std::move(*context), outbox, clock)};
}

} // namespace muster::app
