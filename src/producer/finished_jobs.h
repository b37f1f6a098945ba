/// Records of jobs whose requests are gone: kept for their logs, for a while.
#pragma once

#include "port/store.h"
#include "producer/job.h"
#include "producer/settings.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace muster::producer {

/// Deletes such records when they are older than keep_finished_jobs_for, and the oldest when there are more than
/// keep_finished_jobs. Reports, models, processes and their containers are managed objects and stay; so do the
/// tombstones, by which an id is never used twice. One thread.
class FinishedJobs {
public:
    /// Both outlive this.
    FinishedJobs(Store& store, const Settings& settings) : store_{store}, settings_{settings} {}

    /// Takes a record in. REQUIRES: it has ended, and its request is gone
    void add(const Job& job);
    /// Deletes what need not be kept at this wall time (milliseconds since 1970). Throws StoreDown: call again.
    void sweep(std::int64_t now_ms);

private:
    Store& store_;
    const Settings& settings_;
    std::set<std::pair<std::int64_t, std::string>> by_age_{}; ///< (ended_ms, id), oldest first
};

} // namespace muster::producer
