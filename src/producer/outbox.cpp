#include "producer/outbox.h"

#include "base/log.h"
#include "producer/notifications.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace muster::producer {
namespace {

constexpr auto outbox_kind = "outbox";
constexpr auto meta_kind = "meta";
constexpr auto counters_key = "notifications";

/// Keys sort as the notifications do.
std::string key_of(const std::string& subscription, std::int64_t id) {
    return fmt::format("{}|{:015}", subscription, id);
}

} // namespace

void Outbox::load() {
    const std::scoped_lock lock{mutex_};
    queues_.clear();
    if (const auto record = store_.read(meta_kind, counters_key)) {
        const nrm::Json counters = nrm::Json::parse(record->body);
        next_id_ = counters.at("next").get<std::int64_t>();
        sequences_ = counters.at("sequences").get<std::map<std::string, std::int64_t>>();
    }
    for (const Record& record : store_.list(outbox_kind)) {
        const nrm::Json body = nrm::Json::parse(record.body);
        const std::string subscription = body.at("subscription").get<std::string>();
        queues_[subscription].waiting.push_back(
            {record.key, subscription, body.at("recipient").get<std::string>(), body.at("body").get<std::string>()});
    }
}

Outbox::Staged Outbox::stage(const Changes& changes, const nrm::Objects& objects, Origin origin, WallTime now) {
    Staged staged;
    const std::vector<Subscription> subscriptions = subscriptions_of(objects);
    if (changes.empty() || subscriptions.empty()) {
        return staged;
    }
    const std::scoped_lock lock{mutex_};
    staged.next_id = next_id_;
    staged.sequences = sequences_;
    const std::string system = objects.begin()->first.text();
    std::set<std::string> ending;
    for (const Change& change : changes) {
        if (change.kind == ChangeKind::deleted) {
            ending.insert(change.dn.text());
        }
    }
    for (const Change& change : changes) {
        for (const Subscription& subscription : subscriptions) {
            if (ending.contains(subscription.dn) || !wants(subscription, change)) {
                continue;
            }
            const std::int64_t id = staged.next_id++;
            const std::int64_t sequence = ++staged.sequences[subscription.dn];
            const nrm::Json body = notification_body(change, {id, sequence, now, system, subscription.dn, origin});
            Notification added{key_of(subscription.dn, id), subscription.dn, subscription.recipient, body.dump()};
            const nrm::Json record{
                {"subscription", added.subscription}, {"recipient", added.recipient}, {"body", added.body}};
            staged.writes.push_back({.kind = outbox_kind, .key = added.key, .body = record.dump()});
            staged.added.push_back(std::move(added));
        }
        if (change.kind == ChangeKind::deleted && change.dn.leaf().class_name == "NtfSubscriptionControl") {
            staged.sequences.erase(change.dn.text());
            if (const auto queue = queues_.find(change.dn.text()); queue != queues_.end()) {
                for (const Notification& waiting : queue->second.waiting) {
                    staged.dropped.push_back(waiting.key);
                }
            }
        }
    }
    drop_oldest(staged);
    for (const std::string& key : staged.dropped) {
        staged.writes.push_back({.kind = outbox_kind, .key = key, .body = std::nullopt});
    }
    if (!staged.writes.empty()) {
        const nrm::Json counters{{"next", staged.next_id}, {"sequences", staged.sequences}};
        staged.writes.push_back({.kind = meta_kind, .key = counters_key, .body = counters.dump()});
    }
    return staged;
}

void Outbox::drop_oldest(Staged& staged) const {
    std::map<std::string, std::size_t> added;
    for (const Notification& notification : staged.added) {
        ++added[notification.subscription];
    }
    for (const auto& [subscription, count] : added) {
        const auto queue = queues_.find(subscription);
        const std::size_t waiting = queue == queues_.end() ? 0 : queue->second.waiting.size();
        const std::size_t limit = settings_.outbox_per_subscription_max;
        const std::size_t excess = waiting + count > limit ? waiting + count - limit : 0;
        for (std::size_t i = 0; i < std::min(excess, waiting); ++i) {
            staged.dropped.push_back(queue->second.waiting[i].key);
        }
        for (std::size_t i = waiting; i < excess; ++i) { // one transaction alone is too much
            const auto oldest = std::ranges::find(staged.added, subscription, &Notification::subscription);
            std::erase_if(staged.writes, [&](const Write& write) { return write.key == oldest->key; });
            staged.added.erase(oldest);
        }
    }
}

void Outbox::committed(Staged staged) {
    std::function<void()> listener;
    {
        const std::scoped_lock lock{mutex_};
        if (staged.writes.empty()) {
            return;
        }
        next_id_ = staged.next_id;
        sequences_ = std::move(staged.sequences);
        for (const std::string& key : staged.dropped) {
            const std::string subscription = key.substr(0, key.rfind('|'));
            std::erase_if(queues_[subscription].waiting, [&](const Notification& n) { return n.key == key; });
        }
        for (Notification& added : staged.added) {
            std::deque<Notification>& waiting = queues_[added.subscription].waiting;
            waiting.push_back(std::move(added));
        }
        listener = listener_;
    }
    if (!staged.dropped.empty()) {
        log::warning("notifications dropped count={} reason=\"queue full or subscription deleted; check that the "
                     "subscriber answers\"",
                     staged.dropped.size());
    }
    if (listener && !staged.added.empty()) {
        listener();
    }
}

std::vector<Notification> Outbox::due(SteadyTime now) {
    const std::scoped_lock lock{mutex_};
    std::vector<Notification> found;
    for (const auto& [subscription, queue] : queues_) {
        if (!queue.waiting.empty() && queue.not_before <= now) {
            found.push_back(queue.waiting.front());
        }
    }
    return found;
}

void Outbox::delivered(const std::string& key) {
    const Write forget{.kind = outbox_kind, .key = key, .body = std::nullopt};
    if (auto done = store_.commit(std::span{&forget, 1}); !done) {
        log::warning("notification kept key={} reason=\"{}\"", key, done.error().text());
        return;
    }
    const std::scoped_lock lock{mutex_};
    Queue& queue = queues_[key.substr(0, key.rfind('|'))];
    std::erase_if(queue.waiting, [&](const Notification& n) { return n.key == key; });
    queue.pause = milliseconds{0};
    queue.not_before = {};
}

void Outbox::failed(const std::string& key, SteadyTime now) {
    const std::scoped_lock lock{mutex_};
    Queue& queue = queues_[key.substr(0, key.rfind('|'))];
    queue.pause = std::clamp(2 * queue.pause, settings_.retry_first, settings_.retry_longest);
    queue.not_before = now + queue.pause;
}

std::size_t Outbox::pending() const {
    const std::scoped_lock lock{mutex_};
    std::size_t count = 0;
    for (const auto& [subscription, queue] : queues_) {
        count += queue.waiting.size();
    }
    return count;
}

void Outbox::on_news(std::function<void()> listener) {
    const std::scoped_lock lock{mutex_};
    listener_ = std::move(listener);
}

} // namespace muster::producer
