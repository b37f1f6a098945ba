#include "producer/rounds.h"

#include "producer/records.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::producer {
namespace {

constexpr std::int64_t milliseconds_per_second = 1'000;

/// Whether the candidates are one group, which one of them can break for all.
bool is_grouped(Phase phase) {
    return phase == Phase::calibrating || phase == Phase::deciding || phase == Phase::committing;
}

} // namespace

std::vector<std::string> names_in(const Round& round) {
    std::vector<std::string> names;
    for (const auto& [dn, answer] : round.answers) {
        names.push_back(dn);
    }
    return names;
}

bool all_reached(const Round& round, Answer::State state) {
    return std::ranges::all_of(round.answers, [&](const auto& entry) { return entry.second.state >= state; });
}

Exclusion exclusion_of(const Refuse& refuse, std::int64_t now_ms) {
    const std::int64_t until =
        refuse.retry_after_seconds > 0 ? now_ms + refuse.retry_after_seconds * milliseconds_per_second : 0;
    return {refuse.code, refuse.words, until};
}

bool Rounds::enter(LiveJob& job, Phase phase, milliseconds wait) {
    Job updated = job.record;
    updated.enter(phase);
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, std::string{name_of(phase)}, ""));
        return {};
    });
    job.round.deadline = desk_.now() + wait;
    return done.ok();
}

void Rounds::drop(LiveJob& job, const std::string& dn, const Exclusion& why) {
    if (!job.round.answers.contains(dn)) {
        return;
    }
    if (is_grouped(job.record.phase)) {
        next_round(job, {{dn, why}}, fmt::format("{} is out: {}", dn, why.words));
        return;
    }
    if (exclude(job, dn, why, "is out")) {
        desk_.fleet.release(dn, job.record.wire_id(), why.words);
    }
}

bool Rounds::exclude(LiveJob& job, const std::string& dn, const Exclusion& why, const char* event) {
    Job updated = job.record;
    updated.excluded.insert_or_assign(dn, why);
    std::erase(updated.leases, dn);
    desk_.note(updated, fmt::format("{} {}: {}: {}", dn, event, why.code, why.words));
    if (!desk_.save(job, std::move(updated))) {
        return false;
    }
    job.round.answers.erase(dn);
    return true;
}

void Rounds::on_failed(LiveJob& job, const std::string& dn, const std::string& reason) {
    if (!is_grouped(job.record.phase)) {
        drop(job, dn, {"failed", reason});
        return;
    }
    Round& round = job.round;
    if (!round.answers.contains(dn) ||
        std::ranges::find(round.failures, dn, &FailureReport::dn) != round.failures.end()) {
        return;
    }
    if (round.failures.empty()) {
        round.blame_at = desk_.now() + desk_.settings.blame_wait;
    }
    round.failures.push_back({dn, reason});
    desk_.note(job.record, fmt::format("{} has failed: {}", dn, reason));
}

bool Rounds::settle(LiveJob& job) {
    const Round& round = job.round;
    const auto has_spoken = [&](const auto& entry) {
        const bool measured = job.record.phase == Phase::calibrating && entry.second.state == Answer::State::calibrated;
        return measured || std::ranges::find(round.failures, entry.first, &FailureReport::dn) != round.failures.end();
    };
    if (!std::ranges::all_of(round.answers, has_spoken) && desk_.now() < round.blame_at) {
        return false;
    }
    const auto without = blame(names_in(round), round.failures);
    std::string words;
    for (const auto& [dn, why] : without) {
        words += fmt::format("{}{} is out: {}", words.empty() ? "" : "; ", dn, why.words);
    }
    next_round(job, without, words);
    return true;
}

void Rounds::on_refuse(LiveJob& job, const std::string& dn, const Refuse& refuse) {
    const auto found = job.round.answers.find(dn);
    if (found == job.round.answers.end()) {
        return;
    }
    const Exclusion why = exclusion_of(refuse, desk_.wall_ms());
    if (job.record.phase != Phase::agreeing || found->second.state != Answer::State::proposed) {
        drop(job, dn, why);
        return;
    }
    if (exclude(job, dn, why, "refuses")) {
        desk_.fleet.released(dn, job.record.wire_id());
    }
}

namespace {

/// The job without those who take part, and what they were about to do or did.
Job begun_again(Job job, const std::map<std::string, Exclusion>& without) {
    for (const auto& [dn, exclusion] : without) {
        job.excluded.insert_or_assign(dn, exclusion);
    }
    ++job.attempt;
    job.leases.clear();
    job.members.clear();
    job.signatures.clear();
    job.done.clear();
    job.plan = nullptr;
    job.agreement.clear();
    job.plan_digest.clear();
    job.enter(Phase::evaluating);
    return job;
}

} // namespace

void Rounds::next_round(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason) {
    Job updated = begun_again(job.record, without);
    desk_.note(updated, "next round: " + reason);
    const LiveJob before = job; // its leases are released once the store knows of the next round
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "EVALUATING: " + reason, ""));
        return {};
    });
    if (done) {
        ++job.rounds;
        job.round = Round{};
        desk_.release_all(before, reason, true);
    }
}

bool Rounds::lacks_rows(LiveJob& job) {
    const Round& round = job.round;
    if (round.layout != DataLayout::pinned || desk_.settings.missing_rows != MissingRows::wait ||
        round.answers.size() >= round.asked) {
        return false;
    }
    next_round(job, {}, "the rows of a site are missing");
    return true;
}

void Rounds::suspend(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason) {
    Job updated = begun_again(job.record, without);
    updated.suspended = reason;
    desk_.note(updated, "suspended: " + reason + "; it begins again from the first step");
    const LiveJob before = job;
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("SUSPENDED", 0, "EVALUATING", "SYSTEM: " + reason));
        return {};
    });
    if (done) {
        ++job.rounds;
        job.round = Round{};
        job.watch = Watch{};
        desk_.release_all(before, reason, true);
    }
}

void Rounds::hold(LiveJob& job) {
    if (job.record.phase == Phase::queued) {
        return;
    }
    const LiveJob before = job;
    Job updated = job.record;
    ++updated.attempt;
    updated.leases.clear();
    updated.members.clear();
    updated.signatures.clear();
    updated.enter(Phase::queued);
    desk_.note(updated, "held by the consumer");
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        if (desk_.order_of(transaction, job) != Desk::Order::hold) {
            return Error{ErrorCode::conflict, "resumed or cancelled just now"};
        }
        desk_.stage_progress(transaction, job, progress_status("SUSPENDED", 0, "held by the consumer", ""));
        return {};
    });
    if (done) {
        job.round = Round{};
        desk_.release_all(before, "held by the consumer", true);
    }
}

} // namespace muster::producer
