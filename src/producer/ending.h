/// How jobs end: published, or cancelled with the reason; and what is deleted later.
#pragma once

#include "producer/desk.h"

#include <string>

namespace muster::producer {

/// Ends jobs. One thread.
class Ending {
public:
    explicit Ending(Desk& desk) : desk_{desk} {}

    /// The system gives up: request and process CANCELLED with SYSTEM:<reason>, no model, all leases released.
    void give_up(LiveJob& job, const std::string& reason);
    /// The consumer has cancelled (or deleted a request that had not begun).
    void cancel(LiveJob& job);
    /// All members are done: publishes model and report, or gives up when they do not agree or the model is missing.
    void finish(LiveJob& job);
    /// Deletes the request of an ended job after the retention time; true when it is gone.
    bool retire(const LiveJob& job);

private:
    void end(LiveJob& job, const std::string& reason, const std::string& log_entry);
    [[nodiscard]] std::string obstacle(const LiveJob& job) const;
    void stage_results(Transaction& transaction, const LiveJob& job, const Job& updated, const std::string& unmet);

    Desk& desk_;
};

} // namespace muster::producer
