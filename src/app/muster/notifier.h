/// Joins the producer's outbox with the sender of notifications.
#pragma once

#include "app/muster/producer_config.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "base/result.h"
#include "link/notification_sender.h"
#include "producer/outbox.h"

#include <memory>

namespace muster::app {

/// Delivers what the outbox holds, with the producer's certificate as it is on the disk. Ends when destroyed.
class Notifier {
public:
    /// Errors: as reading the credentials. `outbox` outlives it.
    [[nodiscard]] static Result<std::unique_ptr<Notifier>> start(const ProducerConfig& config,
                                                                 producer::Outbox& outbox);
    ~Notifier();
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;

private:
    Notifier(const ProducerConfig& config, tls::Context context, producer::Outbox& outbox);
    [[nodiscard]] tls::Context current_context();

    CredentialFiles files_;
    Guarded<tls::Context> context_; ///< the last one that could be made
    producer::Outbox& outbox_;
    link::NotificationSender sender_;
};

} // namespace muster::app
