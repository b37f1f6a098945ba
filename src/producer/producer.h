/// The producer's brain put together: what `app` makes, and what `rest`, `link` and the notification sender are given.
#pragma once

#include "base/clock.h"
#include "port/artefacts.h"
#include "port/function_link.h"
#include "port/store.h"
#include "producer/managed_objects.h"
#include "producer/outbox.h"
#include "producer/reconcile.h"
#include "producer/services.h"
#include "producer/settings.h"
#include "tls/keys.h"

#include <cstdint>
#include <memory>

namespace muster::producer {

/// Owns the parts. Thread rules: those of the parts; `run` belongs to one thread.
class Producer {
public:
    /// What it stands on; all outlive it.
    struct World {
        Store& store;
        FunctionLink& link;
        Artefacts& artefacts;
        const tls::Authority& job_authority; ///< the job CA, of this producer's own data folder
        Clock& clock;
        std::string function_trust; ///< PEM of the CAs that functions' certificates chain to, for their signatures
    };
    /// Opens the state in the store, counts the epoch up, creates the root objects and takes over the jobs.
    /// Errors: unavailable, when a record cannot be read; invalid_argument, for wrong names in the settings.
    /// Throws StoreDown.
    [[nodiscard]] static Result<std::unique_ptr<Producer>> open(World world, Settings settings);
    ~Producer();

    [[nodiscard]] ManagedObjects& objects();
    [[nodiscard]] Services& services();
    [[nodiscard]] FunctionEvents& events();
    [[nodiscard]] Outbox& outbox();
    [[nodiscard]] Reconcile& loop();
    /// Of this start; goes into every Welcome.
    [[nodiscard]] std::int64_t epoch() const;

private:
    struct Parts;
    explicit Producer(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

} // namespace muster::producer
