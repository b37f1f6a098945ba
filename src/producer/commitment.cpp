#include "producer/commitment.h"

#include "base/digest.h"
#include "planner/planner.h"
#include "producer/candidates.h"
#include "producer/records.h"
#include "tls/chain.h"
#include "wire/agreement.h"
#include "wire/plan.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::producer {
namespace {

constexpr double milliseconds_per_second = 1'000.0;

/// Those that may ship it the rows and still take part.
std::vector<std::string> senders_of(const Round& round, const Answer& answer) {
    std::vector<std::string> senders = answer.rows_from;
    std::erase_if(senders, [&](const std::string& dn) {
        const auto sender = round.answers.find(dn);
        return sender == round.answers.end() || !sender->second.holds_data;
    });
    return senders;
}

Result<planner::Question> question_of(const Desk& desk, const LiveJob& job) {
    const auto recipe = wire::recipe_from_json(job.record.recipe);
    if (!recipe) {
        return recipe.error();
    }
    planner::Question question{.layout = job.record.layout};
    const bool pinned = question.layout == DataLayout::pinned;
    DataShape shape;
    std::int64_t row_bytes = 0;
    for (const auto& [dn, answer] : job.round.answers) {
        question.candidates.push_back({.dn = dn,
                                       .calibration = answer.measured->calibration,
                                       .memory_bytes = answer.accept.memory_bytes,
                                       .cpu_cores = answer.accept.cpu_cores,
                                       .holds_data = answer.holds_data,
                                       .rows = pinned ? answer.prepared.training_rows : 0,
                                       .rows_from = senders_of(job.round, answer),
                                       .ship_bytes_per_second_max = answer.accept.ship_bytes_per_second_max});
        row_bytes = bytes_of(answer.prepared.matrix);
        if (pinned) {
            add_rows(shape, shape_of(answer.prepared));
        } else {
            shape = shape_of(answer.prepared); // all were told of the same data
        }
    }
    ask_as_recipe(*recipe, shape, question);
    question.row_bytes = row_bytes;
    question.expected_seconds = static_cast<double>(job.wish.expected_seconds);
    question.spent_seconds = static_cast<double>(desk.wall_ms() - job.record.evaluated_ms) / milliseconds_per_second;
    return question;
}

/// "; not asked: DN why, ..." - what would have helped may be among them.
std::string words_of_others(const Job& job) {
    std::string words;
    for (const auto& [dn, why] : job.not_asked) {
        words += fmt::format("{}{} {}", words.empty() ? "; not asked: " : ", ", dn, why);
    }
    return words;
}

/// Sites with pinned rows that have left this round or an earlier one: the others go on without theirs.
void name_missing(const Desk& desk, Job& job) {
    if (job.layout != DataLayout::pinned) {
        return;
    }
    const std::string source = job.recipe.at("data").value("source", "");
    for (const auto& [dn, exclusion] : job.excluded) {
        const auto function = desk.fleet.find(dn);
        const bool has_rows =
            function && std::ranges::find(function->sources, source, &DataSource::name) != function->sources.end();
        const bool named = std::ranges::find(job.missing, dn) != job.missing.end();
        const bool takes_part = std::ranges::find(job.leases, dn) != job.leases.end();
        if (has_rows && !named && !takes_part) {
            job.missing.push_back(dn);
        }
    }
}

/// A member that holds the data, as each plan has one.
const Answer& holder_among(const LiveJob& job, const std::vector<JobMember>& members) {
    const auto holder = std::ranges::find_if(
        members, [&](const JobMember& member) { return job.round.answers.at(member.dn).holds_data; });
    return job.round.answers.at((holder == members.end() ? members.front() : *holder).dn);
}

Agreement agreement_of(const LiveJob& job, const Job& updated, const Plan& plan, std::int64_t request_version) {
    const auto recipe = wire::recipe_from_json(updated.recipe);
    Agreement agreement{.job = updated.wire_id(),
                        .generation = updated.generation,
                        .request = updated.request,
                        .request_version = request_version,
                        .consumer = updated.consumer,
                        .recipe = updated.recipe.at("name").get<std::string>() + "@" + updated.recipe_digest,
                        .model_kind = recipe ? wire::model_kind(*recipe) : std::string{},
                        .layout = name_of(updated.layout),
                        .batch = plan.batch,
                        .steps = plan.steps,
                        .micro_rows = plan.chosen_candidate().micro_rows};
    const bool pinned = updated.layout == DataLayout::pinned; // then each has its own rows, else all the same
    for (const JobMember& member : updated.members) {
        const Answer& answer = job.round.answers.at(member.dn);
        agreement.members.push_back({.dn = member.dn,
                                     .identity = member.identity,
                                     .batch_rows = member.batch_rows,
                                     .state_share = member.state_share,
                                     .stage = member.stage,
                                     .holds_data = answer.holds_data,
                                     .rows_from = member.rows_from,
                                     .rows = pinned ? answer.prepared.training_rows : 0,
                                     .matrix_digest = pinned ? answer.prepared.matrix.digest : std::string{}});
    }
    const Answer& first = job.round.answers.at(updated.members.front().dn);
    agreement.matrix_digest = pinned ? std::string{} : first.prepared.matrix.digest;
    for (const DataSource& source : holder_among(job, updated.members).accept.sources) {
        agreement.sources.push_back({source.name, pinned ? std::string{} : source.digest});
    }
    return agreement;
}

} // namespace

Result<void> check_signature(const Committed& committed, const Expected& expected) {
    const auto refuse = [](std::string why) { return Error{ErrorCode::permission_denied, std::move(why)}; };
    if (committed.plan_digest != expected.plan_digest) {
        return refuse("it signed another plan");
    }
    const auto certificate = tls::inspect(committed.certificate);
    if (!certificate) {
        return refuse("its certificate cannot be read");
    }
    if (certificate->identity.role != tls::Role::function || certificate->identity.name != expected.dn) {
        return refuse("its certificate is for " + certificate->identity.uri);
    }
    if (auto chained = tls::check_chain(committed.certificate, expected.trust, expected.now); !chained) {
        return refuse("its certificate is not trusted: " + chained.error().message);
    }
    const auto signature = from_base64(committed.signature);
    if (!signature || !tls::verify_message(committed.certificate, expected.plan_digest, *signature)) {
        return refuse("the signature is wrong");
    }
    return {};
}

bool Commitment::step(LiveJob& job) {
    if (!job.round.failures.empty()) {
        return rounds_.settle(job);
    }
    switch (job.record.phase) {
    case Phase::deciding:
        return decide(job);
    case Phase::committing:
        return after_committing(job);
    default:
        return false;
    }
}

bool Commitment::decide(LiveJob& job) {
    if (rounds_.lacks_rows(job)) {
        return true;
    }
    const auto question = question_of(desk_, job);
    const auto plan = question ? planner::decide(*question) : Result<Plan>{question.error()};
    if (!plan) {
        ending_.give_up(job, plan.error().text() + words_of_others(job.record));
        return true;
    }
    const PlanCandidate& chosen = plan->chosen_candidate();
    Job updated = job.record;
    updated.plan = wire::to_json(*plan);
    name_missing(desk_, updated);
    updated.members.clear();
    updated.leases.clear(); // the others are released below
    updated.signatures.clear();
    for (const PlanMember& member : chosen.members) {
        updated.members.push_back({member.dn,
                                   tls::job_uri(updated.wire_id(), member.dn),
                                   job.round.answers.at(member.dn).accept.addresses,
                                   member.batch_rows,
                                   member.state_share,
                                   member.stage,
                                   member.rows_from});
        updated.leases.push_back(member.dn);
    }
    const auto request = desk_.tree.find(desk_.request_of(job));
    const Agreement agreement = agreement_of(job, updated, *plan, request ? request->version : 0);
    updated.agreement = wire::canonical_text(agreement);
    updated.plan_digest = wire::digest_of(agreement);
    updated.enter(Phase::committing);
    desk_.note(updated, fmt::format("decided: {}: {}", chosen.name, plan->why));
    const Decided decided{.split_indication = job.wish.split_allowed,
                          .split_allowed = job.wish.split_allowed.value_or(desk_.settings.split_allowed_by_default),
                          .ignored_suggestions = unknown_suggestions(desk_.fleet, job.wish)};
    const auto done = desk_.save(job, updated, [&](Transaction& transaction) -> Result<void> {
        transaction.put(desk_.process_of(job).child("VsDataContainer", "decision"), decision_record(updated, decided));
        desk_.stage_progress(transaction, job, progress_status("NOT_STARTED", 0, "COMMITTING", ""));
        return {};
    });
    job.round.deadline = desk_.now() + desk_.settings.commit_wait;
    return done.ok() && send_commits(job);
}

bool Commitment::send_commits(LiveJob& job) {
    const std::string wire_id = job.record.wire_id();
    Roster roster{.job = wire_id,
                  .generation = job.record.generation,
                  .plan_digest = job.record.plan_digest,
                  .members = {},
                  .micro_rows = chosen_of(job.record).value("micro_rows", std::int64_t{0}),
                  .layout = job.record.layout};
    for (const JobMember& member : job.record.members) {
        roster.members.push_back({member.dn,
                                  member.identity,
                                  member.addresses,
                                  member.batch_rows,
                                  member.state_share,
                                  member.stage,
                                  member.rows_from});
    }
    std::erase_if(job.round.answers, [&](const auto& entry) {
        const bool chosen = std::ranges::find(job.record.leases, entry.first) != job.record.leases.end();
        if (!chosen) {
            desk_.fleet.release(entry.first, wire_id, "not needed for the plan");
        }
        return !chosen;
    });
    for (const std::string& dn : std::vector<std::string>{job.record.leases}) {
        auto certificate = desk_.job_certificate(job, dn);
        if (!certificate) {
            rounds_.drop(job, dn, {"broken", "its certificate request is wrong: " + certificate.error().text()});
            return true;
        }
        const Commit message{.job = wire_id,
                             .certificate = *std::move(certificate),
                             .authority = desk_.job_authority.certificate(),
                             .roster = roster,
                             .agreement = job.record.agreement,
                             .requirements = job.wish.requirements,
                             .lease_seconds = desk_.settings.lease.count()};
        if (auto sent = desk_.send(dn, message); !sent) {
            rounds_.drop(job, dn, {"unreachable", sent.error().text()});
            return true;
        }
    }
    return true;
}

void Commitment::on_committed(LiveJob& job, const std::string& dn, const Committed& committed) {
    const auto found = job.round.answers.find(dn);
    if (job.record.phase != Phase::committing || committed.generation != job.record.generation ||
        found == job.round.answers.end() || found->second.state == Answer::State::committed) {
        return;
    }
    const Expected expected{dn, job.record.plan_digest, desk_.function_trust, desk_.clock.wall_now()};
    if (auto right = check_signature(committed, expected); !right) {
        rounds_.drop(job, dn, {"bad_signature", right.error().message});
        return;
    }
    Job updated = job.record;
    updated.signatures.insert_or_assign(dn, committed);
    desk_.note(updated, dn + " has signed the plan");
    if (desk_.save(job, std::move(updated))) {
        found->second.state = Answer::State::committed;
    }
}

bool Commitment::after_committing(LiveJob& job) {
    std::map<std::string, Exclusion> silent;
    for (const auto& [dn, answer] : job.round.answers) {
        if (answer.state != Answer::State::committed) {
            silent[dn] = {"silent", "did not sign the plan in time"};
        }
    }
    if (silent.empty()) {
        return start(job);
    }
    if (desk_.now() < job.round.deadline) {
        return false;
    }
    rounds_.next_round(job, silent, fmt::format("{} functions did not sign in time", silent.size()));
    return true;
}

bool Commitment::start(LiveJob& job) {
    Job updated = job.record;
    updated.started_ms = desk_.wall_ms();
    updated.enter(Phase::running);
    desk_.note(updated, "all have signed: training starts");
    const auto done = desk_.save(job, updated, [&](Transaction& transaction) -> Result<void> {
        if (desk_.order_of(transaction, job) != Desk::Order::go) {
            return Error{ErrorCode::conflict, "held or cancelled just now"};
        }
        transaction.put(desk_.process_of(job).child("VsDataContainer", "agreement"), agreement_record(updated));
        desk_.stage_progress(
            transaction, job, progress_status("RUNNING", 0, "TRAINING " + desk_.model_of(job).text(), ""));
        return {};
    });
    if (!done) {
        return false;
    }
    job.watch = Watch{};
    for (const JobMember& member : job.record.members) {
        job.watch.present.insert(member.dn);
        if (auto sent = desk_.send(member.dn, Start{job.record.wire_id(), job.record.generation}); !sent) {
            job.watch.lost_at[member.dn] = desk_.now(); // it is told when it comes back in time
        }
    }
    return true;
}

} // namespace muster::producer
