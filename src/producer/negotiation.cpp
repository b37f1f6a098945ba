#include "producer/negotiation.h"

#include "producer/records.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::producer {
namespace {

std::vector<std::string> holders_in(const Round& round) {
    std::vector<std::string> holders = names_in(round);
    std::erase_if(holders, [&](const std::string& dn) { return !round.answers.at(dn).holds_data; });
    return holders;
}

std::string model_kind_of(const nlohmann::json& recipe) {
    const auto parsed = wire::recipe_from_json(recipe);
    return parsed ? wire::model_kind(*parsed) : std::string{};
}

} // namespace

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
    return rounds_.enter(job, Phase::evaluating, milliseconds{0});
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
    if (!choice.refusal.empty()) {
        ending_.give_up(job, choice.refusal);
        return true;
    }
    const bool waits = !choice.missing.empty() && desk_.settings.missing_rows == MissingRows::wait;
    job.round.layout = choice.layout;
    if (choice.candidates.empty() || waits) {
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
    const milliseconds longest =
        round.layout == DataLayout::pinned ? desk_.settings.holder_wait_max : desk_.settings.agreement_wait_max;
    if (desk_.now() - *round.waiting_since >= longest) {
        ending_.give_up(job, "no function qualifies: " + reason);
        return true;
    }
    if (round.waiting_reason != reason) {
        Job updated = job.record;
        desk_.note(updated, "waiting: " + reason);
        const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
            const std::string& suspended = job.record.suspended;
            desk_.stage_progress(transaction,
                                 job,
                                 suspended.empty()
                                     ? progress_status("NOT_STARTED", 0, "EVALUATING: waiting: " + reason, "")
                                     : progress_status("SUSPENDED", 0, "waiting: " + reason, "SYSTEM: " + suspended));
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
    updated.layout = choice.layout;
    updated.missing = choice.missing;
    updated.suspended.clear();
    updated.enter(Phase::agreeing);
    desk_.note(updated, fmt::format("asking {} functions (round {})", dns.size(), updated.attempt));
    for (const std::string& dn : choice.missing) {
        desk_.note(updated, fmt::format("goes on without the rows of {}: {}", dn, choice.reasons.at(dn)));
    }
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "AGREEING", ""));
        return {};
    });
    if (!done) {
        return false;
    }
    job.round =
        Round{.deadline = desk_.now() + desk_.settings.propose_wait, .layout = choice.layout, .asked = dns.size()};
    for (const std::string& dn : dns) {
        Answer& answer = job.round.answers[dn];
        answer.holds_data = !choice.without_data.contains(dn);
        if (const auto senders = choice.rows_from.find(dn); senders != choice.rows_from.end()) {
            answer.rows_from = senders->second;
        }
        desk_.fleet.reserve(dn, job.record.wire_id());
    }
    send_proposals(job, choice);
    return true;
}

void Negotiation::send_proposals(LiveJob& job, const Choice& choice) {
    Propose message{.job = job.record.wire_id(),
                    .consumer = job.record.consumer,
                    .caller = job.record.caller,
                    .inference = job.record.inference,
                    .recipe = job.record.recipe.at("name").get<std::string>() + "@" + job.record.recipe_digest,
                    .model_kind = model_kind_of(job.record.recipe),
                    .sources = {},
                    .expected_seconds = job.wish.expected_seconds,
                    .lease_seconds = desk_.settings.lease.count(),
                    .layout = choice.layout};
    for (const std::string& dn : choice.candidates) {
        const bool holds = !choice.without_data.contains(dn);
        message.sources = holds ? sources_of(job.record.recipe) : std::vector<std::string>{};
        message.receivers.clear();
        message.row_receivers.clear();
        message.receives_rows = choice.rows_from.contains(dn) && !choice.rows_from.at(dn).empty();
        if (holds && choice.for_stages) {
            message.receivers.assign(choice.without_data.begin(), choice.without_data.end());
        }
        for (const auto& [receiver, senders] : choice.rows_from) {
            if (std::ranges::find(senders, dn) != senders.end()) {
                message.row_receivers.push_back(receiver);
            }
        }
        message.peers.clear();
        std::ranges::copy_if(
            choice.candidates, std::back_inserter(message.peers), [&](const std::string& peer) { return peer != dn; });
        if (auto sent = desk_.send(dn, message); !sent) {
            rounds_.drop(job, dn, {"unreachable", sent.error().text()});
        }
    }
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

void Negotiation::on_gathered(LiveJob& job, const std::string& dn, const Gathered& gathered) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::preparing || job.round.layout != DataLayout::pinned ||
        found == job.round.answers.end() || found->second.state != Answer::State::accepted) {
        return;
    }
    found->second.state = Answer::State::gathered;
    found->second.statistics = gathered.statistics;
    desk_.note(job.record, fmt::format("{} has said what its {} rows are like", dn, gathered.statistics.rows));
}

void Negotiation::on_prepared(LiveJob& job, const std::string& dn, const Prepared& prepared) {
    const auto found = job.round.answers.find(dn);
    const auto before = job.round.layout == DataLayout::pinned ? Answer::State::gathered : Answer::State::accepted;
    if (job.record.phase != Phase::preparing || found == job.round.answers.end() || found->second.state != before) {
        return;
    }
    found->second.state = Answer::State::prepared;
    found->second.prepared = prepared;
    const Answer& answer = found->second;
    desk_.note(job.record,
               answer.holds_data          ? fmt::format("{} is prepared: {} training rows", dn, prepared.training_rows)
               : answer.rows_from.empty() ? fmt::format("{} is prepared for a stage: it does not hold the data", dn)
                                          : fmt::format("{} is prepared and has room for the rows, which it does not "
                                                        "hold",
                                                        dn));
}

void Negotiation::drop_silent(LiveJob& job,
                              const std::vector<std::string>& awaited,
                              Answer::State expected,
                              const char* what) {
    for (const std::string& dn : awaited) {
        const auto found = job.round.answers.find(dn);
        if (found != job.round.answers.end() && found->second.state < expected) {
            rounds_.drop(job, dn, {"silent", fmt::format("did not answer {} in time", what)});
        }
    }
}

bool Negotiation::after_agreeing(LiveJob& job) {
    if (!all_reached(job.round, Answer::State::accepted)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        drop_silent(job, names_in(job.round), Answer::State::accepted, "the proposal");
    }
    if (holders_in(job.round).empty()) {
        rounds_.next_round(job, {}, "nobody who holds the data accepted");
        return true;
    }
    if (rounds_.lacks_rows(job)) {
        return true;
    }
    if (!rounds_.enter(job, Phase::preparing, desk_.settings.prepare_wait)) {
        return false;
    }
    send_prepare(job, holders_in(job.round), {}, {});
    return true;
}

void Negotiation::send_prepare(LiveJob& job,
                               const std::vector<std::string>& to,
                               const std::optional<DataElsewhere>& data,
                               const std::optional<Preprocessing>& preprocessing) {
    const Prepare message{job.record.wire_id(), job.record.recipe.dump(), data, preprocessing};
    for (const std::string& dn : to) {
        if (auto sent = desk_.send(dn, message); !sent) {
            rounds_.drop(job, dn, {"unreachable", sent.error().text()});
        }
    }
}

/// Those who hold the data prepare first: what they learn of it the others need.
bool Negotiation::after_preparing(LiveJob& job) {
    if (job.round.layout == DataLayout::pinned && !job.round.merged) {
        return after_gathering(job);
    }
    const auto awaited = job.round.described ? names_in(job.round) : holders_in(job.round);
    const bool ready = std::ranges::all_of(
        awaited, [&](const std::string& dn) { return job.round.answers.at(dn).state >= Answer::State::prepared; });
    if (!ready) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        drop_silent(job, awaited, Answer::State::prepared, "the preparation");
    }
    drop_other_data(job);
    if (rounds_.lacks_rows(job)) {
        return true;
    }
    const std::vector<std::string> holders = holders_in(job.round);
    if (holders.empty()) {
        rounds_.next_round(job, {}, "nobody who holds the data could prepare");
        return true;
    }
    if (!job.round.described && holders.size() < job.round.answers.size()) {
        describe_data(job, job.round.answers.at(holders.front()).prepared);
        return true;
    }
    return measurement_.begin(job);
}

void Negotiation::describe_data(LiveJob& job, const Prepared& prepared) {
    std::vector<std::string> others = names_in(job.round);
    std::erase_if(others, [&](const std::string& dn) { return job.round.answers.at(dn).holds_data; });
    job.round.described = true;
    job.round.deadline = desk_.now() + desk_.settings.prepare_wait;
    send_prepare(job,
                 others,
                 DataElsewhere{.matrix = prepared.matrix,
                               .preprocessing = prepared.preprocessing,
                               .training_rows = prepared.training_rows,
                               .validation_rows = prepared.validation_rows},
                 {});
}

/// Of pinned rows all say first what they are like. Together that is what all encode by.
bool Negotiation::after_gathering(LiveJob& job) {
    if (!all_reached(job.round, Answer::State::gathered)) {
        if (desk_.now() < job.round.deadline) {
            return false;
        }
        drop_silent(job, names_in(job.round), Answer::State::gathered, "what its rows are like");
    }
    if (rounds_.lacks_rows(job)) {
        return true;
    }
    if (job.round.answers.empty()) {
        rounds_.next_round(job, {}, "no site has said what its rows are like");
        return true;
    }
    const auto preprocessing = merge_statistics(job);
    if (!preprocessing) {
        ending_.give_up(job, "the data of the sites does not go together: " + preprocessing.error().text());
        return true;
    }
    job.round.merged = true;
    job.round.deadline = desk_.now() + desk_.settings.prepare_wait;
    send_prepare(job, names_in(job.round), {}, *preprocessing);
    return true;
}

Result<Preprocessing> Negotiation::merge_statistics(LiveJob& job) {
    const auto recipe = wire::recipe_from_json(job.record.recipe);
    if (!recipe) {
        return recipe.error();
    }
    std::vector<SiteStatistics> sites;
    for (const auto& [dn, answer] : job.round.answers) {
        sites.push_back({dn, answer.statistics});
    }
    const auto all = merged(sites);
    if (!all) {
        return all.error();
    }
    auto preprocessing = preprocessing_of(*all, *recipe);
    if (preprocessing) {
        preprocessing->history = recipe->data.history;
        desk_.note(job.record, fmt::format("statistics of {} sites are merged: {} rows", sites.size(), all->rows));
    }
    return preprocessing;
}

/// In layout "whole" all who read rows read the same matrix: those who have another one than most are left out.
void Negotiation::drop_other_data(LiveJob& job) {
    std::map<std::string, std::size_t> count;
    const std::vector<std::string> holders = holders_in(job.round);
    for (const std::string& dn : holders) {
        ++count[job.round.answers.at(dn).prepared.matrix.digest];
    }
    const auto most = std::ranges::max_element(count, {}, [](const auto& entry) { return entry.second; });
    for (const std::string& dn : holders) {
        const Answer& answer = job.round.answers.at(dn);
        if (job.round.layout == DataLayout::whole && answer.prepared.matrix.digest != most->first) {
            rounds_.drop(job, dn, {"other_data", "its encoded data differs from that of the others"});
        } else if (answer.prepared.training_rows <= 0) {
            rounds_.drop(job, dn, {"no_data", "it has no rows to train on"});
        }
    }
}

} // namespace muster::producer
