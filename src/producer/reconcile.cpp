#include "producer/reconcile.h"

#include "base/log.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

namespace muster::producer {
namespace {

constexpr milliseconds idle_wait{100};    ///< deadlines are noticed this late at most
constexpr milliseconds store_wait{1'000}; ///< pause after the store has failed

/// The job a message is about; none for Hello and Heartbeat.
std::optional<std::string> job_of(const FromFunction& message) {
    return std::visit(
        [](const auto& body) -> std::optional<std::string> {
            using Body = std::decay_t<decltype(body)>;
            if constexpr (std::is_same_v<Body, Hello> || std::is_same_v<Body, Heartbeat>) {
                return std::nullopt;
            } else if constexpr (std::is_same_v<Body, Counter>) {
                return body.offer.job;
            } else {
                return body.job;
            }
        },
        message);
}

const HeldJob* held(const Hello& hello, const std::string& wire_id) {
    const auto found = std::ranges::find(hello.jobs, wire_id, &HeldJob::job);
    return found == hello.jobs.end() ? nullptr : &*found;
}

bool has_lease(const LiveJob& job, const std::string& dn) {
    return std::ranges::find(job.record.leases, dn) != job.record.leases.end();
}

} // namespace

Reconcile::Reconcile(Desk desk)
    : desk_{desk}, ending_{desk_}, rounds_{desk_}, measurement_{desk_, rounds_}, negotiation_{desk_,
                                                                                              rounds_,
                                                                                              measurement_,
                                                                                              ending_},
      commitment_{desk_, rounds_, ending_}, training_{desk_, rounds_, ending_}, finished_{desk_.store, desk_.settings} {
}

Result<void> Reconcile::load() {
    auto jobs = load_jobs(desk_.store);
    if (!jobs) {
        return std::move(jobs).error();
    }
    started_ = desk_.now();
    for (Job& job : *jobs) {
        LiveJob live{.record = std::move(job)};
        const auto request = desk_.tree.find(desk_.request_of(live));
        if (live.record.phase == Phase::ended && !request) {
            finished_.add(live.record); // kept for its log only
            continue;
        }
        if (request) {
            live.wish = wish_of(request->attributes);
        }
        if (is_training(live.record.phase)) {
            training_.await_adoption(live);
        } else if (live.record.phase != Phase::queued && live.record.phase != Phase::ended) {
            rounds_.next_round(live, {}, "the producer was restarted");
            live.rounds = 0;
        }
        jobs_.insert_or_assign(live.record.id, std::move(live));
    }
    return {};
}

void Reconcile::on_message(const std::string& dn, FromFunction message) {
    std::size_t waiting = 0;
    {
        const std::scoped_lock lock{inbox_mutex_};
        waiting = inbox_.size();
    }
    if (waiting >= desk_.settings.inbox_max) {
        if (std::holds_alternative<Progress>(message) || std::holds_alternative<Heartbeat>(message)) {
            return; // the next one says more
        }
        desk_.link.disconnect(dn, "too many messages"); // it comes back and says what it holds
        return;
    }
    queue(Message{dn, std::move(message)});
}

void Reconcile::on_lost(const std::string& dn, const std::string& reason) {
    queue(Lost{dn, reason, false});
}

void Reconcile::on_revoked(const std::string& dn, const std::string& reason) {
    queue(Lost{dn, reason, true});
}

void Reconcile::submitted(Job job) {
    ++unfinished_;
    queue(std::move(job));
}

void Reconcile::changed() {
    {
        const std::scoped_lock lock{inbox_mutex_};
        news_ = true;
    }
    inbox_news_.notify_one();
}

void Reconcile::queue(Item item) {
    {
        const std::scoped_lock lock{inbox_mutex_};
        inbox_.push_back(std::move(item));
        news_ = true;
    }
    inbox_news_.notify_one();
}

void Reconcile::step() {
    for (;;) {
        Item item;
        {
            const std::scoped_lock lock{inbox_mutex_};
            news_ = false;
            if (inbox_.empty()) {
                break;
            }
            item = inbox_.front();
        }
        handle(item); // may throw StoreDown: the item is still there, and handling it twice does no harm
        const std::scoped_lock lock{inbox_mutex_};
        inbox_.pop_front();
    }
    desk_.fleet.tick(desk_.now());
    advance_all();
}

void Reconcile::run(std::stop_token stop) {
    while (!stop.stop_requested()) {
        milliseconds wait = idle_wait;
        try {
            step();
        } catch (const StoreDown& down) {
            log::error("store down, jobs wait {} action=\"free disk space or mend the database\"",
                       log::field("reason", down.what()));
            wait = store_wait;
        }
        std::unique_lock lock{inbox_mutex_};
        inbox_news_.wait_for(lock, stop, wait, [this] { return news_; });
    }
}

void Reconcile::handle(const Item& item) {
    if (const auto* job = std::get_if<Job>(&item)) {
        if (!jobs_.contains(job->id)) {
            LiveJob live{.record = *job};
            jobs_.insert_or_assign(job->id, std::move(live));
        }
    } else if (const auto* lost = std::get_if<Lost>(&item)) {
        on_gone(*lost);
    } else {
        const auto& [dn, message] = std::get<Message>(item);
        if (const auto* hello = std::get_if<Hello>(&message)) {
            on_hello(dn, *hello);
        } else if (const auto* heartbeat = std::get_if<Heartbeat>(&message)) {
            desk_.fleet.heartbeat(dn, *heartbeat);
        } else {
            dispatch(dn, message);
        }
    }
}

void Reconcile::on_hello(const std::string& dn, const Hello& hello) {
    if (auto known = desk_.fleet.hello(dn, hello); !known) {
        log::warning("function refused {} {}", log::field("function", dn), log::field("reason", known.error().text()));
        desk_.link.disconnect(dn, known.error().text());
        return;
    }
    log::info("function connected {} cores={:.2f}", log::field("function", dn), hello.capacity.cpu_cores);
    for (auto& [id, job] : jobs_) {
        if (!has_lease(job, dn)) {
            continue;
        }
        const HeldJob* here = held(hello, job.record.wire_id());
        if (is_training(job.record.phase)) {
            const bool same = here != nullptr && here->generation == job.record.generation;
            training_.on_hello(job, dn, same ? here->state : std::string{});
        } else if (here != nullptr) {
            desk_.fleet.adopt(dn, job.record.wire_id()); // the connection was replaced within a round
        } else {
            rounds_.drop(job, dn, {"lost", "was restarted"});
        }
    }
    for (const HeldJob& stale : hello.jobs) {
        const LiveJob* job = find(stale.job);
        if (job == nullptr || !has_lease(*job, dn)) {
            desk_.fleet.release(dn, stale.job, "this job does not need the function any more");
        }
    }
}

void Reconcile::on_gone(const Lost& lost) {
    const auto& [dn, reason, revoked] = lost;
    log::info(
        "function {} {} {}", revoked ? "revoked" : "lost", log::field("function", dn), log::field("reason", reason));
    desk_.fleet.lost(dn);
    for (auto& [id, job] : jobs_) {
        if (!has_lease(job, dn)) {
            continue;
        }
        if (is_training(job.record.phase)) {
            revoked ? training_.on_revoked(job, dn, reason) : training_.on_lost(job, dn);
        } else if (job.record.phase != Phase::ended) {
            rounds_.drop(job, dn, {revoked ? "revoked" : "lost", reason});
        }
    }
}

LiveJob* Reconcile::find(const std::string& wire_id) {
    for (auto& [id, job] : jobs_) {
        if (job.record.phase != Phase::ended && job.record.wire_id() == wire_id) {
            return &job;
        }
    }
    return nullptr;
}

void Reconcile::dispatch(const std::string& dn, const FromFunction& message) {
    const std::string wire_id = job_of(message).value_or("");
    LiveJob* job = find(wire_id);
    if (std::holds_alternative<Released>(message)) {
        desk_.fleet.released(dn, wire_id);
        if (job != nullptr && has_lease(*job, dn)) { // by itself, not because we asked
            on_left(*job, dn);
        }
        return;
    }
    if (job == nullptr || !has_lease(*job, dn)) {
        if (!std::holds_alternative<Refuse>(message)) { // it holds something that nobody wants any more
            desk_.fleet.release(dn, wire_id, "this job does not need the function any more");
        }
        return;
    }
    if (const auto* accept = std::get_if<Accept>(&message)) {
        negotiation_.on_accept(*job, dn, *accept, "");
    } else if (const auto* counter = std::get_if<Counter>(&message)) {
        negotiation_.on_accept(*job, dn, counter->offer, counter->words);
    } else if (const auto* gathered = std::get_if<Gathered>(&message)) {
        negotiation_.on_gathered(*job, dn, *gathered);
    } else if (const auto* prepared = std::get_if<Prepared>(&message)) {
        negotiation_.on_prepared(*job, dn, *prepared);
    } else if (const auto* calibrated = std::get_if<Calibrated>(&message)) {
        measurement_.on_calibrated(*job, dn, *calibrated);
    } else if (const auto* committed = std::get_if<Committed>(&message)) {
        commitment_.on_committed(*job, dn, *committed);
    } else if (const auto* progress = std::get_if<Progress>(&message)) {
        training_.on_progress(*job, dn, *progress);
    } else if (const auto* done = std::get_if<Done>(&message)) {
        training_.on_done(*job, dn, *done);
    } else if (const auto* refuse = std::get_if<Refuse>(&message)) {
        if (is_training(job->record.phase)) {
            training_.on_failed(*job, dn, refuse->words);
        } else {
            rounds_.on_refuse(*job, dn, *refuse);
        }
    } else if (const auto* failed = std::get_if<Failed>(&message)) {
        if (is_training(job->record.phase)) {
            training_.on_failed(*job, dn, failed->reason);
        } else {
            rounds_.on_failed(*job, dn, failed->reason);
        }
    }
}

void Reconcile::on_left(LiveJob& job, const std::string& dn) {
    constexpr auto words = "has left the job";
    if (is_training(job.record.phase)) {
        training_.on_failed(job, dn, words);
    } else {
        rounds_.drop(job, dn, {"failed", words});
    }
}

std::vector<LiveJob*> Reconcile::by_priority() {
    std::vector<std::pair<int, LiveJob*>> order;
    for (auto& [id, job] : jobs_) {
        if (job.record.phase == Phase::ended) {
            continue;
        }
        const auto process = desk_.tree.find(desk_.process_of(job));
        const auto policy = desk_.settings.priority_by_source.find(job.record.consumer);
        const int from_policy =
            policy == desk_.settings.priority_by_source.end() ? desk_.settings.default_priority : policy->second;
        order.emplace_back(process ? process->attributes.value("priority", from_policy) : from_policy, &job);
    }
    std::ranges::stable_sort(order, [](const auto& a, const auto& b) {
        return std::pair{a.first, a.second->record.submitted_ms} < std::pair{b.first, b.second->record.submitted_ms};
    });
    std::vector<LiveJob*> jobs;
    for (const auto& [priority, job] : order) {
        jobs.push_back(job);
    }
    return jobs;
}

/// After a start, functions known from before get a moment to connect again, so that the first one back is not the
/// only candidate.
bool Reconcile::gathering() const {
    if (desk_.now() - started_ >= desk_.settings.gather_wait) {
        return false;
    }
    const auto functions = desk_.fleet.all();
    return std::ranges::any_of(functions, [](const FunctionState& function) { return !function.connected; });
}

void Reconcile::advance_all() {
    std::erase_if(jobs_, [&](auto& entry) {
        const bool gone = entry.second.record.phase == Phase::ended && ending_.retire(entry.second);
        if (gone) {
            finished_.add(entry.second.record);
        }
        return gone;
    });
    finished_.sweep(desk_.wall_ms());
    std::size_t open = 0;
    for (LiveJob* job : by_priority()) {
        while (advance(*job)) {
        }
        open += job->record.phase == Phase::ended ? 0 : 1;
    }

    const std::scoped_lock lock{inbox_mutex_};
    const auto waiting = std::ranges::count_if(inbox_, [](const Item& i) { return std::holds_alternative<Job>(i); });
    unfinished_ = open + static_cast<std::size_t>(waiting);
}

bool Reconcile::advance(LiveJob& job) {
    if (job.record.phase == Phase::ended) {
        return false;
    }
    const Desk::Order order = desk_.order_of(job);
    if (order == Desk::Order::cancel) {
        ending_.cancel(job);
        return false;
    }
    if (is_training(job.record.phase)) {
        return training_.step(job);
    }
    if (order == Desk::Order::hold) {
        rounds_.hold(job);
        return false;
    }
    if (job.record.phase == Phase::evaluating && gathering()) {
        return false;
    }
    if (job.record.phase == Phase::calibrating) {
        return measurement_.step(job);
    }
    return job.record.phase < Phase::calibrating ? negotiation_.step(job) : commitment_.step(job);
}

} // namespace muster::producer
