/// Notifications waiting for delivery: durable, at least once, in order for each subscription.
#pragma once

#include "base/clock.h"
#include "nrm/tree.h"
#include "port/store.h"
#include "producer/changes.h"
#include "producer/settings.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace muster::producer {

/// One notification to be sent.
struct Notification {
    std::string key{};          ///< names it in delivered() and failed()
    std::string subscription{}; ///< DN of the NtfSubscriptionControl
    std::string recipient{};    ///< https address
    std::string body{};         ///< JSON text
};

/// Keeps what was not delivered yet. Safe from any thread; the sender is the only caller of due(), delivered() and
/// failed(). A subscriber that does not answer delays only its own notifications.
class Outbox {
public:
    Outbox(Store& store, const Settings& settings) : store_{store}, settings_{settings} {}

    /// Reads what was left. Throws StoreDown.
    void load();

    /// What a transaction adds; see ObjectTree::transact.
    struct Staged {
        std::vector<Write> writes{};
        std::vector<Notification> added{};
        std::vector<std::string> dropped{}; ///< keys no longer to be sent
        std::int64_t next_id{};
        std::map<std::string, std::int64_t> sequences{};
    };
    /// Makes the notifications of `changes` for the subscriptions among `objects`, as they were before the changes.
    /// Called by one thread at a time; `committed` follows unless the store refused.
    [[nodiscard]] Staged stage(const Changes& changes, const nrm::Objects& objects, Origin origin, WallTime now);
    void committed(Staged staged);

    /// The oldest notification of each subscription whose time has come.
    [[nodiscard]] std::vector<Notification> due(SteadyTime now);
    /// The recipient has answered with success: forgets it. Throws StoreDown; then it will be sent again.
    void delivered(const std::string& key);
    /// Tries again later: after retry_first, then twice as long each time up to retry_longest.
    void failed(const std::string& key, SteadyTime now);
    [[nodiscard]] std::size_t pending() const;
    /// Called (from any thread) when there is something new to send.
    void on_news(std::function<void()> listener);

private:
    struct Queue {
        std::deque<Notification> waiting{};
        SteadyTime not_before{};
        milliseconds pause{0};
    };
    void drop_oldest(Staged& staged) const;

    Store& store_;
    const Settings& settings_;
    mutable std::mutex mutex_{};
    std::map<std::string, Queue> queues_{}; ///< by subscription
    std::int64_t next_id_{1};
    std::map<std::string, std::int64_t> sequences_{};
    std::function<void()> listener_{};
};

} // namespace muster::producer
