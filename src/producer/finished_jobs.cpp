#include "producer/finished_jobs.h"

#include "base/log.h"

#include <vector>

namespace muster::producer {
namespace {

constexpr std::size_t batch_max = 100; ///< records deleted in one transaction

} // namespace

void FinishedJobs::add(const Job& job) {
    by_age_.emplace(job.ended_ms, job.id);
}

void FinishedJobs::sweep(std::int64_t now_ms) {
    const std::int64_t oldest = now_ms - milliseconds{settings_.keep_finished_jobs_for}.count();
    std::vector<Write> removals;
    for (const auto& [ended_ms, id] : by_age_) {
        const bool too_many = by_age_.size() - removals.size() > settings_.keep_finished_jobs;
        if ((!too_many && ended_ms > oldest) || removals.size() == batch_max) {
            break;
        }
        removals.push_back(removal_of(id));
    }
    if (removals.empty()) {
        return;
    }
    if (const auto done = store_.commit(removals); !done) {
        log::error("records of finished jobs not deleted {}", log::field("reason", done.error().text()));
        return;
    }
    by_age_.erase(by_age_.begin(), std::next(by_age_.begin(), static_cast<std::ptrdiff_t>(removals.size())));
    log::info("records of finished jobs deleted number={}", removals.size());
}

} // namespace muster::producer
