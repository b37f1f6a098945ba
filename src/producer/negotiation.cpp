#include "producer/negotiation.h"

#include "producer/records.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace muster::producer {
namespace {

constexpr std::int64_t milliseconds_per_second = 1'000;

std::vector<std::string> sources_of(const nlohmann::json& recipe) {
    std::vector<std::string> sources{recipe.at("data").at("source").get<std::string>()};
    if (const std::string test = recipe.at("data").value("test", ""); !test.empty()) {
        sources.push_back(test);
    }
    return sources;
}

std::string model_kind_of(const nlohmann::json& recipe) {
    const auto parsed = wire::recipe_from_json(recipe);
    return parsed ? wire::model_kind(*parsed) : std::string{};
}

std::vector<std::string> names_in(const Round& round) {
    std::vector<std::string> names;
    for (const auto& [dn, answer] : round.answers) {
        names.push_back(dn);
    }
    return names;
}

} // namespace

Exclusion exclusion_of(const Refuse& refuse, std::int64_t now_ms) {
    const std::int64_t until =
        refuse.retry_after_seconds > 0 ? now_ms + refuse.retry_after_seconds * milliseconds_per_second : 0;
    return {refuse.code, refuse.words, until};
}

bool Negotiation::step(LiveJob& job) {
    switch (job.record.phase) {
    case Phase::queued:
        return job.record.process.empty() ? begin(job) : resume(job);
    case Phase::evaluating:
        return evaluate(job);
    case Phase::agreeing:
        return after_agreeing(job);
    case Phase::preparing:
        return after_preparing(job);
    case Phase::calibrating:
        return after_calibrating(job);
    default:
        return false;
    }
}

bool Negotiation::begin(LiveJob& job) {
    Job updated = job.record;
    updated.process = desk_.process_of(job).text();
    updated.evaluated_ms = desk_.wall_ms();
    updated.enter(Phase::evaluating);
    desk_.note(updated, "evaluation starts");
    const auto done = desk_.save(job, updated, [&](Transaction& transaction) -> Result<void> {
        if (desk_.order_of(transaction, job) != Desk::Order::go) {
            return Error{ErrorCode::conflict, "held or cancelled just now"};
        }
        job.wish = wish_of(transaction.find(desk_.request_of(job))->attributes);
        const auto policy = desk_.settings.priority_by_source.find(job.wish.consumer);
        const int priority =
            policy == desk_.settings.priority_by_source.end() ? desk_.settings.default_priority : policy->second;
        transaction.set(desk_.request_of(job), {{"requestStatus", "IN_PROGRESS"}});
        transaction.create(desk_.process_of(job), process_attributes(updated, priority, desk_.model_of(job).text()));
        transaction.create(desk_.model_of(job), model_attributes(updated));
        return {};
    });
    return done.ok();
}

bool Negotiation::resume(LiveJob& job) {
    desk_.note(job.record, "resumed");
    return enter(job, Phase::evaluating, milliseconds{0});
}

bool Negotiation::enter(LiveJob& job, Phase phase, milliseconds wait) {
    Job updated = job.record;
    updated.enter(phase);
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, std::string{name_of(phase)}, ""));
        return {};
    });
    job.round.deadline = desk_.now() + wait;
    return done.ok();
}

bool Negotiation::evaluate(LiveJob& job) {
    if (job.rounds >= desk_.settings.attempts_max) {
        ending_.give_up(job, fmt::format("no agreement in {} rounds", desk_.settings.attempts_max));
        return true;
    }
    // Functions of the round before are waited for: they are the likely candidates.
    const auto functions = desk_.fleet.all();
    const auto leaving = [&](const FunctionState& f) { return f.releasing && f.job.starts_with(job.record.id); };
    if (std::ranges::any_of(functions, leaving)) {
        return false;
    }
    const Choice choice = choose(desk_, job);
    if (choice.candidates.empty()) {
        return await_function(job, reasons_text(choice), choice.later);
    }
    return propose(job, choice);
}

bool Negotiation::await_function(LiveJob& job, const std::string& reason, bool later) {
    Round& round = job.round;
    if (!job.record.excluded.empty() && !later) {
        ending_.give_up(job, "no function takes part: " + reason);
        return true;
    }
    if (!round.waiting_since) {
        round.waiting_since = desk_.now();
    }
    if (desk_.now() - *round.waiting_since >= desk_.settings.agreement_wait_max) {
        ending_.give_up(job, "no function qualifies: " + reason);
        return true;
    }
    if (round.waiting_reason != reason) {
        Job updated = job.record;
        desk_.note(updated, "waiting: " + reason);
        const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
            desk_.stage_progress(
                transaction, job, progress_status("NOT_STARTED", 0, "EVALUATING: waiting: " + reason, ""));
            return {};
        });
        if (done) {
            round.waiting_reason = reason;
        }
    }
    return false;
}

bool Negotiation::propose(LiveJob& job, const Choice& choice) {
    const std::vector<std::string>& dns = choice.candidates;
    Job updated = job.record;
    updated.leases = dns;
    updated.not_asked = choice.reasons;
    std::erase_if(updated.not_asked, [&](const auto& entry) { return updated.excluded.contains(entry.first); });
    updated.enter(Phase::agreeing);
    desk_.note(updated, fmt::format("asking {} functions (round {})", dns.size(), updated.attempt));
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "AGREEING", ""));
        return {};
    });
    if (!done) {
        return false;
    }
    job.round = Round{.deadline = desk_.now() + desk_.settings.propose_wait};
    for (const std::string& dn : dns) {
        job.round.answers[dn];
        desk_.fleet.reserve(dn, job.record.wire_id());
    }
    Propose message{.job = job.record.wire_id(),
                    .consumer = job.record.consumer,
                    .caller = job.record.caller,
                    .inference = job.record.inference,
                    .recipe = job.record.recipe.at("name").get<std::string>() + "@" + job.record.recipe_digest,
                    .model_kind = model_kind_of(job.record.recipe),
                    .sources = sources_of(job.record.recipe),
                    .expected_seconds = job.wish.expected_seconds,
                    .lease_seconds = desk_.settings.lease.count()};
    for (const std::string& dn : dns) {
        message.peers.clear();
        std::ranges::copy_if(
            dns, std::back_inserter(message.peers), [&](const std::string& peer) { return peer != dn; });
        if (auto sent = desk_.send(dn, message); !sent) {
            drop(job, dn, {"unreachable", sent.error().text()});
        }
    }
    return true;
}

void Negotiation::on_accept(LiveJob& job, const std::string& dn, const Accept& accept, const std::string& counter) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::agreeing || found == job.round.answers.end()) {
        return;
    }
    if (found->second.state == Answer::State::proposed) {
        found->second.state = Answer::State::accepted;
        found->second.accept = accept;
        found->second.counter = counter;
        desk_.note(
            job.record,
            counter.empty()
                ? fmt::format("{} accepts: {:.2f} cores, {} MB", dn, accept.cpu_cores, accept.memory_bytes / 1'000'000)
                : fmt::format("{} offers less: {:.2f} cores, {} MB: {}",
                              dn,
                              accept.cpu_cores,
                              accept.memory_bytes / 1'000'000,
                              counter));
    }
}

void Negotiation::on_prepared(LiveJob& job, const std::string& dn, const Prepared& prepared) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::preparing || found == job.round.answers.end() ||
        found->second.state != Answer::State::accepted) {
        return;
    }
    found->second.state = Answer::State::prepared;
    found->second.prepared = prepared;
    desk_.note(job.record, fmt::format("{} is prepared: {} training rows", dn, prepared.training_rows));
}

void Negotiation::on_calibrated(LiveJob& job, const std::string& dn, const Calibrated& calibrated) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::calibrating || found == job.round.answers.end() ||
        found->second.state != Answer::State::prepared) {
        return;
    }
    Answer& answer = found->second;
    const Calibration& reported = calibrated.calibration;
    if (!answer.measured || answer.measure_steps) {
        answer.measured = Measured{reported, answer.prepared.training_rows, answer.prepared.parameters};
    }
    answer.measured->calibration.latency_seconds = reported.latency_seconds;
    answer.measured->calibration.bytes_per_second = reported.bytes_per_second;
    answer.measured->calibration.link_cpu_seconds_per_byte = reported.link_cpu_seconds_per_byte;
    answer.state = Answer::State::calibrated;
    const auto line = answer.measured->calibration.fit();
    desk_.note(
        job.record,
        fmt::format(
            "{} is measured: {:.1f} us a row, {:.1f} ms a step besides", dn, line.per_row * 1e6, line.fixed * 1e3));
}

void Negotiation::drop(LiveJob& job, const std::string& dn, const Exclusion& why) {
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

void Negotiation::on_refuse(LiveJob& job, const std::string& dn, const Refuse& refuse) {
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

void Negotiation::next_round(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason) {
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

void Negotiation::hold(LiveJob& job) {
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

bool Negotiation::all_reached(const LiveJob& job, Answer::State state) {
    return std::ranges::all_of(job.round.answers, [&](const auto& entry) { return entry.second.state >= state; });
}

void Negotiation::drop_silent(LiveJob& job, Answer::State expected, const char* what) {
    for (const std::string& dn : names_in(job.round)) {
        const auto found = job.round.answers.find(dn);
        if (found != job.round.answers.end() && found->second.state < expected) {
            drop(job, dn, {"silent", fmt::format("did not answer {} in time", what)});
        }
    }
}

bool Negotiation::after_agreeing(LiveJob& job) {
    if (!all_reached(job, Answer::State::accepted)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        drop_silent(job, Answer::State::accepted, "the proposal");
    }
    if (job.round.answers.empty()) {
        next_round(job, {}, "nobody accepted");
        return true;
    }
    if (!enter(job, Phase::preparing, desk_.settings.prepare_wait)) {
        return false;
    }
    const Prepare message{job.record.wire_id(), job.record.recipe.dump()};
    for (const std::string& dn : names_in(job.round)) {
        if (auto sent = desk_.send(dn, message); !sent) {
            drop(job, dn, {"unreachable", sent.error().text()});
        }
    }
    return true;
}

bool Negotiation::after_preparing(LiveJob& job) {
    if (!all_reached(job, Answer::State::prepared)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        drop_silent(job, Answer::State::prepared, "the preparation");
    }
    drop_other_data(job);
    if (job.round.answers.empty()) {
        next_round(job, {}, "nobody could prepare");
        return true;
    }
    if (use_known_measurements(job)) {
        return enter(job, Phase::deciding, milliseconds{0});
    }
    return calibrate(job);
}

/// In layout "whole" all members train on the same matrix: those who have another one than most are left out.
void Negotiation::drop_other_data(LiveJob& job) {
    std::map<std::string, std::size_t> count;
    for (const auto& [dn, answer] : job.round.answers) {
        ++count[answer.prepared.matrix.digest];
    }
    const auto most = std::ranges::max_element(count, {}, [](const auto& entry) { return entry.second; });
    for (const std::string& dn : names_in(job.round)) {
        const Answer& answer = job.round.answers.at(dn);
        if (answer.prepared.matrix.digest != most->first) {
            drop(job, dn, {"other_data", "its encoded data differs from that of the others"});
        } else if (answer.prepared.training_rows <= 0) {
            drop(job, dn, {"no_data", "it has no rows to train on"});
        }
    }
}

/// Fills in what the store knows; true when nothing is left to measure.
bool Negotiation::use_known_measurements(LiveJob& job) const {
    const std::vector<std::string> group = names_in(job.round);
    bool complete = true;
    for (auto& [dn, answer] : job.round.answers) {
        answer.measured = desk_.calibrations.find(job.record.recipe_digest, dn, answer.accept.cpu_cores);
        answer.measure_steps = !answer.measured;
        const auto link = group.size() > 1 ? desk_.calibrations.find_link(dn, group) : LinkMeasured{};
        complete = complete && answer.measured && link;
        if (answer.measured && link) {
            answer.measured->calibration.latency_seconds = link->latency_seconds;
            answer.measured->calibration.bytes_per_second = link->bytes_per_second;
            answer.measured->calibration.link_cpu_seconds_per_byte = link->cpu_seconds_per_byte;
        }
    }
    return complete;
}

bool Negotiation::calibrate(LiveJob& job) {
    for (const std::string& dn : names_in(job.round)) {
        if (!job.round.answers.at(dn).accept.may_calibrate) {
            drop(job, dn, {"not_calibrated", "its policy does not permit to measure it, and it was never measured"});
        }
    }
    if (job.round.answers.empty()) {
        next_round(job, {}, "nobody may be measured");
        return true;
    }
    Roster roster{.job = job.record.wire_id(), .generation = 0};
    std::map<std::string, std::string> certificates;
    for (const std::string& dn : names_in(job.round)) {
        auto certificate = desk_.job_certificate(job, dn);
        if (!certificate) {
            drop(job, dn, {"broken", "its certificate request is wrong: " + certificate.error().text()});
            continue;
        }
        certificates[dn] = *std::move(certificate);
        roster.members.push_back({.dn = dn,
                                  .identity = tls::job_uri(job.record.wire_id(), dn),
                                  .addresses = job.round.answers.at(dn).accept.addresses});
    }
    if (roster.members.empty() || !enter(job, Phase::calibrating, desk_.settings.calibrate_wait)) {
        return false;
    }
    const auto batches = batches_to_time(job.record.recipe.at("batch").get<std::int64_t>());
    for (const auto& [dn, certificate] : certificates) {
        const Calibrate message{.job = job.record.wire_id(),
                                .certificate = certificate,
                                .authority = desk_.job_authority.certificate(),
                                .roster = roster,
                                .batches = batches,
                                .measure_steps = job.round.answers.at(dn).measure_steps};
        if (auto sent = desk_.send(dn, message); !sent) {
            drop(job, dn, {"unreachable", sent.error().text()});
            return true; // the round is over
        }
    }
    return true;
}

bool Negotiation::after_calibrating(LiveJob& job) {
    if (!all_reached(job, Answer::State::calibrated)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        std::map<std::string, Exclusion> silent;
        for (const auto& [dn, answer] : job.round.answers) {
            if (answer.state < Answer::State::calibrated) {
                silent[dn] = {"silent", "could not be measured in time"};
            }
        }
        next_round(job, silent, fmt::format("{} functions could not be measured in time", silent.size()));
        return true;
    }
    const std::vector<std::string> group = names_in(job.round);
    std::vector<Write> writes;
    for (const auto& [dn, answer] : job.round.answers) {
        if (answer.measure_steps) {
            writes.push_back(
                Calibrations::write_of(job.record.recipe_digest, dn, answer.accept.cpu_cores, *answer.measured));
        }
        if (group.size() > 1) {
            const Calibration& seen = answer.measured->calibration;
            writes.push_back(Calibrations::write_of_link(
                dn, group, {seen.latency_seconds, seen.bytes_per_second, seen.link_cpu_seconds_per_byte}));
        }
    }
    Job updated = job.record;
    updated.enter(Phase::deciding);
    return desk_
        .save(job,
              std::move(updated),
              [&](Transaction& transaction) -> Result<void> {
                  for (Write& write : writes) {
                      transaction.write(std::move(write));
                  }
                  desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "DECIDING", ""));
                  return {};
              })
        .ok();
}

} // namespace muster::producer
