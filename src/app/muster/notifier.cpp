#include "app/muster/notifier.h"

#include "base/log.h"

namespace muster::app {
namespace {

Result<tls::Context> read_context(const CredentialFiles& files) {
    auto credentials = load(files);
    return credentials ? tls::Context::client(*credentials) : Result<tls::Context>{std::move(credentials).error()};
}

std::vector<link::Delivery> due(producer::Outbox& outbox, SteadyTime now) {
    std::vector<link::Delivery> deliveries;
    for (producer::Notification& notification : outbox.due(now)) {
        deliveries.push_back(
            {std::move(notification.key), std::move(notification.recipient), std::move(notification.body)});
    }
    return deliveries;
}

} // namespace

Notifier::Notifier(const ProducerConfig& config, tls::Context context, producer::Outbox& outbox)
    : files_{config.credentials}, context_{std::move(context)}, outbox_{outbox},
      sender_{{.recipients = config.settings.notification_recipients},
              [this] { return current_context(); },
              {.due = [&outbox](SteadyTime now) { return due(outbox, now); },
               .delivered = [&outbox](const std::string& key) { outbox.delivered(key); },
               .failed = [&outbox](const std::string& key, SteadyTime now) { outbox.failed(key, now); }}} {
    outbox_.on_news([this] { sender_.wake(); });
    sender_.start();
}

Notifier::~Notifier() {
    outbox_.on_news({});
    sender_.stop();
}

tls::Context Notifier::current_context() {
    // Read for each connection: a renewed certificate counts from the next one on.
    auto fresh = read_context(files_);
    if (!fresh) {
        log::warning("the certificate for notifications cannot be read, the last one is used {}",
                     log::field("reason", fresh.error().text()));
    }
    return context_.with([&](tls::Context& last) {
        if (fresh) {
            last = *fresh;
        }
        return last;
    });
}

Result<std::unique_ptr<Notifier>> Notifier::start(const ProducerConfig& config, producer::Outbox& outbox) {
    auto context = read_context(config.credentials);
    if (!context) {
        return std::move(context).error();
    }
    return std::unique_ptr<Notifier>{new Notifier{config, std::move(*context), outbox}};
}

} // namespace muster::app
