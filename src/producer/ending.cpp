#include "producer/ending.h"

#include "base/log.h"
#include "producer/managed_objects.h"
#include "producer/records.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::producer {
namespace {

constexpr std::int64_t milliseconds_per_second = 1'000;

/// What is not met, e.g. "MAE 3.71 instead of 3.60"; empty when all is.
std::string unmet_requirements(const std::vector<Score>& scores,
                               const std::vector<PerformanceRequirement>& requirements) {
    std::string text;
    for (const PerformanceRequirement& requirement : requirements) {
        if (meets(scores, std::span{&requirement, 1})) {
            continue;
        }
        const auto metric = metric_of(requirement.metric);
        const auto score = std::ranges::find_if(
            scores, [&](const Score& s) { return metric && s.metric == std::string{metric->name}; });
        text += fmt::format("{}{} {} instead of {:.4g}",
                            text.empty() ? "" : ", ",
                            requirement.metric,
                            score == scores.end() ? std::string{"unknown"} : fmt::format("{:.4g}", score->value),
                            requirement.score);
    }
    return text;
}

} // namespace

void Ending::end(LiveJob& job, const std::string& reason, const std::string& log_entry) {
    const LiveJob before = job;
    Job updated = job.record;
    updated.outcome = "cancelled";
    updated.reason = reason;
    updated.ended_ms = desk_.wall_ms();
    updated.leases.clear();
    updated.enter(Phase::ended);
    desk_.note(updated, log_entry);
    const auto done = desk_.save(job, std::move(updated), [&](Transaction& transaction) -> Result<void> {
        if (transaction.find(desk_.request_of(job)) != nullptr) {
            transaction.set(desk_.request_of(job), {{"requestStatus", "CANCELLED"}});
        }
        const nrm::Dn process = desk_.process_of(job);
        if (transaction.find(process) != nullptr) {
            const nrm::Json progress =
                transaction.find(process)->attributes.value("progressStatus", nrm::Json::object());
            transaction.set(
                process,
                {{"progressStatus", progress_status("CANCELLED", progress.value("progressPercentage", 0), "", reason)},
                 {"mLModelRef", nullptr}});
        }
        transaction.remove(desk_.model_of(job));
        return {};
    });
    if (!done) {
        log::error("job not ended {} {}", log::field("id", job.record.id), log::field("reason", done.error().text()));
        return;
    }
    desk_.release_all(before, reason);
}

void Ending::give_up(LiveJob& job, const std::string& reason) {
    end(job, "SYSTEM: " + reason, "given up: " + reason);
}

void Ending::cancel(LiveJob& job) {
    end(job, "CONSUMER: cancelled", "cancelled by the consumer");
}

std::string Ending::obstacle(const LiveJob& job) const {
    const Done& first = job.record.done.at(job.record.members.front().dn);
    for (const auto& [dn, done] : job.record.done) {
        if (done.parameters_digest != first.parameters_digest) {
            return fmt::format(
                "the members ended with different parameters ({} and {})", job.record.members.front().dn, dn);
        }
    }
    if (first.model_sha256.empty()) {
        return "no model was delivered";
    }
    if (auto path = desk_.artefacts.path_of(first.model_sha256); !path) {
        return "the model was not received: " + path.error().text();
    }
    return {};
}

void Ending::finish(LiveJob& job) {
    if (const std::string reason = obstacle(job); !reason.empty()) {
        give_up(job, reason);
        return;
    }
    const LiveJob before = job;
    Job updated = job.record;
    const Done& first = before.record.done.at(before.record.members.front().dn);
    const auto validated = scores_of(first, "trained", "validation");
    const std::string unmet = unmet_requirements(
        validated.empty() ? scores_of(first, "trained", "training") : validated, job.wish.requirements);
    updated.outcome = "finished";
    updated.reason = unmet.empty() ? std::string{} : "REQUIREMENTS_NOT_MET: " + unmet;
    updated.ended_ms = desk_.wall_ms();
    updated.leases.clear();
    updated.enter(Phase::ended);
    desk_.note(updated, unmet.empty() ? "finished" : "finished; requirements not met: " + unmet);
    const auto done = desk_.save(job, updated, [&](Transaction& transaction) -> Result<void> {
        if (desk_.order_of(transaction, job) == Desk::Order::cancel) {
            return Error{ErrorCode::conflict, "cancelled just now"};
        }
        stage_results(transaction, before, updated, updated.reason);
        return {};
    });
    if (done) {
        desk_.release_all(before, "finished");
    }
}

void Ending::stage_results(Transaction& transaction, const LiveJob& job, const Job& updated, const std::string& unmet) {
    const Done& first = updated.done.at(updated.members.front().dn);
    const nrm::Dn request = desk_.request_of(job);
    const nrm::Dn report = beside(request, "MLTrainingReport");
    const nrm::Dn model = desk_.model_of(job);
    transaction.put(model.child("VsDataContainer", "artefact"),
                    artefact_record(updated, first, desk_.settings.public_url));
    transaction.create(report, report_attributes(updated, job.wish, first, model.text()));
    transaction.create(report.child("VsDataContainer", "participants"), participants_record(updated, first));
    transaction.put(desk_.process_of(job).child("VsDataContainer", "progress"),
                    progress_record(updated, job.watch.progress, updated.ended_ms));
    transaction.set(
        desk_.process_of(job),
        {{"progressStatus", progress_status("FINISHED", 100, "", unmet)}, {"trainingReportRef", report.text()}});
    transaction.set(request, {{"requestStatus", "FINISHED"}});
}

bool Ending::retire(const LiveJob& job) {
    const std::int64_t age = desk_.wall_ms() - job.record.ended_ms;
    if (age < desk_.settings.retention.count() * milliseconds_per_second) {
        return false;
    }
    const auto done = desk_.tree.transact(Origin::producer, [&](Transaction& transaction) -> Result<void> {
        const nrm::Dn request = desk_.request_of(job);
        if (const nrm::Object* object = transaction.find(request)) {
            const nrm::Dn report = beside(request, "MLTrainingReport");
            transaction.write(tombstone_of(*object,
                                           transaction.find(report) != nullptr ? report.text() : "",
                                           object->attributes.value("requestStatus", "")));
            transaction.remove(request);
        }
        return {};
    });
    return done.ok();
}

} // namespace muster::producer
