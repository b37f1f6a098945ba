#include "producer/rounds.h"

#include "producer/records.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::producer {
namespace {

constexpr std::int64_t milliseconds_per_second = 1'000;

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
    if (job.record.phase == Phase::calibrating || job.record.phase == Phase::deciding ||
        job.record.phase == Phase::committing) {
        next_round(job, {{dn, why}}, fmt::format("{} is out: {}", dn, why.words));
        return;
    }
    Job updated = job.record;
    updated.excluded.insert_or_assign(dn, why);
    std::erase(updated.leases, dn);
    desk_.note(updated, fmt::format("{} is out: {}: {}", dn, why.code, why.words));
    if (desk_.save(job, std::move(updated))) {
        job.round.answers.erase(dn);
        desk_.fleet.release(dn, job.record.wire_id(), why.words);
    }
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
    Job updated = job.record;
    updated.excluded.insert_or_assign(dn, why);
    std::erase(updated.leases, dn);
    desk_.note(updated, fmt::format("{} refuses: {}: {}", dn, why.code, why.words));
    if (desk_.save(job, std::move(updated))) {
        job.round.answers.erase(dn);
        desk_.fleet.released(dn, job.record.wire_id());
    }
}

void Rounds::next_round(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason) {
    Job updated = job.record;
    for (const auto& [dn, exclusion] : without) {
        updated.excluded.insert_or_assign(dn, exclusion);
    }
    ++updated.attempt;
    updated.leases.clear();
    updated.members.clear();
    updated.signatures.clear();
    updated.plan = nullptr;
    updated.agreement.clear();
    updated.plan_digest.clear();
    updated.enter(Phase::evaluating);
    desk_.note(updated, "next round: " + reason);
    const LiveJob before = job; // its leases are released once the store knows of the next round
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "EVALUATING: " + reason, ""));
        return {};
    });
    if (done) {
        ++job.rounds;
        job.round = Round{};
        desk_.release_all(before, reason);
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
        desk_.release_all(before, "held by the consumer");
    }
}

} // namespace muster::producer
