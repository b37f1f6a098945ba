/// The thread that delivers notifications from the producer's outbox over HTTPS.
#pragma once

#include "app/muster/producer_config.h"
#include "base/clock.h"
#include "base/result.h"
#include "producer/outbox.h"

#include <memory>

namespace muster::app {

/// Ends its thread when destroyed.
class Notifier {
public:
    virtual ~Notifier() = default;
};

/// Starts delivering with the producer's certificate; recipients are checked by their host name.
/// Errors: as reading the credentials.
[[nodiscard]] Result<std::unique_ptr<Notifier>>
start_notifier(const ProducerConfig& config, producer::Outbox& outbox, const Clock& clock);

} // namespace muster::app
