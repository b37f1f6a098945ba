#include "producer/training.h"

#include "producer/blame.h"
#include "producer/records.h"
#include "wire/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace muster::producer {
namespace {

bool is_member(const LiveJob& job, const std::string& dn) {
    return std::ranges::find(job.record.members, dn, &JobMember::dn) != job.record.members.end();
}

/// Which member a Failed is the loss of, its own process' or another one's; empty: the training has failed, and would
/// again.
std::string who_is_gone(const std::vector<std::string>& members, const std::string& dn, const std::string& reason) {
    constexpr std::array ended{
        "worker ended", "was restarted", "has left the job", "the lease ran out", "the function was restarted"};
    const bool itself = std::ranges::any_of(ended, [&](const char* words) { return reason.starts_with(words); });
    const std::string other = blame(members, {{dn, reason}}).begin()->first;
    return itself ? dn : other != dn ? other : std::string{};
}

/// Whether rows are shipped and no member has begun to train.
bool still_ships(const LiveJob& job) {
    const bool ships =
        std::ranges::any_of(job.record.members, [](const JobMember& member) { return !member.rows_from.empty(); });
    return ships && job.record.done.empty() &&
           std::ranges::all_of(job.watch.progress, [](const auto& entry) { return entry.second.step == 0; });
}

/// "SHIPPING rows, 45 %"; empty, when all rows are where they are needed.
std::string words_of_shipping(const LiveJob& job) {
    std::int64_t arrived = 0;
    std::int64_t expected = 0;
    for (const auto& [dn, progress] : job.watch.progress) {
        arrived += progress.rows_arrived_bytes;
        expected += progress.rows_expected_bytes;
    }
    return expected > 0 && still_ships(job) ? fmt::format("SHIPPING rows, {} %", 100 * arrived / expected)
                                            : std::string{};
}

bool grows_trees(const Job& job) {
    const auto recipe = wire::recipe_from_json(job.recipe);
    return recipe && has_trees(*recipe);
}

/// 99 at most: 100 is for what is published.
int percentage_of(const std::map<std::string, Progress>& members) {
    double part = 0.0;
    for (const auto& [dn, progress] : members) {
        if (progress.steps > 0) {
            part = std::max(part, static_cast<double>(progress.step) / static_cast<double>(progress.steps));
        }
    }
    return std::clamp(static_cast<int>(part * 100.0), 0, 99);
}

} // namespace

bool Training::step(LiveJob& job) {
    const SteadyTime now = desk_.now();
    for (const auto& [dn, since] : job.watch.lost_at) {
        if (now - since >= desk_.settings.reconnect_wait && !job.record.done.contains(dn)) {
            lose(job, std::string{dn}, fmt::format("{} was lost and did not come back", dn));
            return true;
        }
    }
    std::vector<std::string> absent;
    for (const JobMember& member : job.record.members) {
        if (!job.watch.present.contains(member.dn) && !job.record.done.contains(member.dn)) {
            absent.push_back(member.dn);
        }
    }
    if (!absent.empty() && now >= job.watch.adopt_by) {
        lose(job,
             absent.front(),
             fmt::format("after a restart of the producer {} did not report", fmt::join(absent, " and ")));
        return true;
    }
    if (job.record.done.size() == job.record.members.size()) {
        ending_.finish(job);
        return true;
    }
    if (job.watch.finish_by && now >= *job.watch.finish_by) {
        ending_.give_up(job, "not every function finished, although others did");
        return true;
    }
    if (job.watch.dirty && now - job.watch.written_at >= desk_.settings.progress_every) {
        write_progress(job);
    }
    return false;
}

/// What a member that is gone means: of pinned rows it has some that nobody else has; boosted trees of rows that all
/// have are soon grown again by the others. While rows are shipped nothing is lost but time: what has arrived is kept.
void Training::lose(LiveJob& job, const std::string& dn, const std::string& reason) {
    if (still_ships(job)) {
        rounds_.suspend(job, {}, reason);
        return;
    }
    const bool pinned = job.record.layout == DataLayout::pinned;
    if (!pinned && !grows_trees(job.record)) {
        ending_.give_up(job, reason);
        return;
    }
    const bool goes_on = !pinned || desk_.settings.missing_rows == MissingRows::go_on;
    rounds_.suspend(job,
                    goes_on ? std::map<std::string, Exclusion>{{dn, {"lost", reason}}}
                            : std::map<std::string, Exclusion>{},
                    reason);
}

void Training::write_progress(LiveJob& job) {
    job.watch.written_at = desk_.now();
    job.watch.dirty = false;
    const std::string shipping = words_of_shipping(job);
    const auto done = desk_.tree.transact(Origin::producer, [&](Transaction& transaction) -> Result<void> {
        if (desk_.order_of(transaction, job) == Desk::Order::cancel) {
            return {};
        }
        transaction.put(desk_.process_of(job).child("VsDataContainer", "progress"),
                        progress_record(job.record, job.watch.progress, desk_.wall_ms()));
        desk_.stage_progress(transaction,
                             job,
                             progress_status("RUNNING",
                                             percentage_of(job.watch.progress),
                                             shipping.empty() ? "TRAINING " + desk_.model_of(job).text() : shipping,
                                             ""));
        return {};
    });
    job.watch.dirty = !done;
}

void Training::on_progress(LiveJob& job, const std::string& dn, const Progress& progress) {
    if (!is_member(job, dn) || progress.generation != job.record.generation) {
        return;
    }
    job.watch.present.insert(dn);
    if (!std::isfinite(progress.loss)) {
        ending_.give_up(job, fmt::format("the loss is not finite at step {} ({})", progress.step, dn));
        return;
    }
    Progress& kept = job.watch.progress[dn];
    const std::vector<Score> scores = progress.validation.empty() ? kept.validation : progress.validation;
    kept = progress;
    kept.validation = scores;
    job.watch.dirty = true;
}

void Training::on_done(LiveJob& job, const std::string& dn, const Done& done) {
    if (!is_member(job, dn) || done.generation != job.record.generation || job.record.done.contains(dn)) {
        return;
    }
    job.watch.present.insert(dn);
    job.watch.lost_at.erase(dn);
    Job updated = job.record;
    updated.done.insert_or_assign(dn, done);
    if (updated.phase == Phase::running) {
        updated.enter(Phase::finishing);
    }
    desk_.note(updated, fmt::format("{} is done: {} steps in {:.1f} s", dn, done.steps, done.seconds));
    if (desk_.save(job, std::move(updated)) && !job.watch.finish_by) {
        job.watch.finish_by = desk_.now() + desk_.settings.finish_wait;
    }
}

void Training::on_failed(LiveJob& job, const std::string& dn, const std::string& reason) {
    if (!is_member(job, dn) || job.record.done.contains(dn)) {
        return;
    }
    const std::string words = fmt::format("{}: {}", dn, reason);
    std::vector<std::string> members;
    for (const JobMember& member : job.record.members) {
        members.push_back(member.dn);
    }
    const auto gone = who_is_gone(members, dn, reason);
    if (!gone.empty() || (still_ships(job) && reason.starts_with("shipping: "))) {
        lose(job, gone.empty() ? dn : gone, words);
    } else {
        ending_.give_up(job, words);
    }
}

void Training::on_revoked(LiveJob& job, const std::string& dn, const std::string& reason) {
    if (is_member(job, dn)) { // even one that is done: what it has sent to the others is trusted no more
        ending_.give_up(job, fmt::format("{}: {}", dn, reason));
    }
}

void Training::on_lost(LiveJob& job, const std::string& dn) {
    if (is_member(job, dn) && !job.record.done.contains(dn) && !job.watch.lost_at.contains(dn)) {
        job.watch.lost_at[dn] = desk_.now();
        desk_.note(job.record, fmt::format("{} lost its connection", dn));
    }
}

void Training::on_hello(LiveJob& job, const std::string& dn, const std::string& state) {
    if (!is_member(job, dn)) {
        return;
    }
    if (state.empty()) {
        on_failed(job, dn, "was restarted and does not hold the job any more");
        return;
    }
    desk_.fleet.adopt(dn, job.record.wire_id());
    job.watch.present.insert(dn);
    job.watch.lost_at.erase(dn);
    desk_.note(job.record, fmt::format("{} is connected and holds the job ({})", dn, state));
    if (state == "committed") { // Start got lost with the connection
        if (auto sent = desk_.send(dn, Start{job.record.wire_id(), job.record.generation}); !sent) {
            job.watch.lost_at[dn] = desk_.now();
        }
    }
}

void Training::await_adoption(LiveJob& job) {
    job.watch = Watch{.adopt_by = desk_.now() + desk_.settings.adopt_wait};
    if (!job.record.done.empty()) {
        job.watch.finish_by = desk_.now() + desk_.settings.adopt_wait + desk_.settings.finish_wait;
    }
    desk_.note(job.record, "the producer was restarted: waiting for the members to report");
}

} // namespace muster::producer
