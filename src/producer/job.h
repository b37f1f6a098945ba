/// The record of one training job: what the producer must know of it after a restart.
#pragma once

#include "base/result.h"
#include "model/messages.h"
#include "model/plan.h"
#include "model/recipe.h"
#include "port/store.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster::producer {

/// Where a job is. The order is that of a life without trouble.
enum class Phase {
    queued,      ///< created, evaluation has not begun, or is held by the consumer
    evaluating,  ///< looking for functions
    agreeing,    ///< Propose sent
    preparing,   ///< Prepare sent
    calibrating, ///< Calibrate sent
    deciding,    ///< everything measured
    committing,  ///< Commit sent
    running,     ///< all have signed; Start is sent, and sent again after a restart
    finishing,   ///< some members are done
    ended,
};

[[nodiscard]] std::string_view name_of(Phase phase);
/// Says whether the state machine allows the step.
[[nodiscard]] bool may_follow(Phase from, Phase to);
/// Says whether members train in this phase, so that the job survives a restart of the producer.
[[nodiscard]] inline bool is_training(Phase phase) {
    return phase == Phase::running || phase == Phase::finishing;
}

/// Why a function is not asked (again) for this job.
struct Exclusion {
    std::string code;  ///< of Refuse, or: silent, lost, revoked, other_data, not_calibrated, bad_signature, failed
    std::string words; ///< for people
    std::int64_t until_ms{}; ///< wall time from which it may be asked again; 0: not for this job
};

/// One line of a job's log.
struct Event {
    std::int64_t time_ms{};
    std::string event;
};

/// A function's part in a generation that is being committed to or trains.
struct JobMember {
    std::string dn;
    std::string identity; ///< SAN URI of its job certificate
    std::vector<std::string> addresses;
    std::int64_t batch_rows{};
    double state_share{1.0};
    ModelStage stage{};
    std::string rows_from{}; ///< DN of the member that ships it the rows; empty: none
};

/// One job, made with its request. Written to the store before anything is done about it.
struct Job {
    std::string id; ///< lower-case letters, digits and '-'; also the id of its MLModel
    std::string request;
    std::string process{};  ///< DN; empty until evaluation starts
    std::string caller{};   ///< authenticated identity that created the request
    std::string consumer{}; ///< trainingRequestSource
    std::string inference{};
    nlohmann::json recipe{}; ///< canonical, as it was when the request was created
    std::string recipe_digest{};
    Phase phase{Phase::queued};
    std::int64_t attempt{1};    ///< round of agreement; each has its own name on the wire
    std::int64_t generation{1}; ///< of the roster that trains
    std::map<std::string, Exclusion> excluded{};
    std::map<std::string, std::string> not_asked{}; ///< DN -> why it was no candidate in the last round
    std::vector<std::string> leases{};              ///< DNs that may hold a lease of this attempt
    std::vector<JobMember> members{};               ///< the committed roster, in rank order
    DataLayout layout{DataLayout::whole};           ///< of the last round
    std::vector<std::string> missing{};             ///< pinned rows: DNs of sites that it goes on without
    std::string suspended{};                        ///< why it waits, after it has trained; empty: it does not
    nlohmann::json plan{};                          ///< wire/plan.h
    std::string agreement{};                        ///< canonical text
    std::string plan_digest{};
    std::map<std::string, Committed> signatures{};
    std::map<std::string, Done> done{};
    std::int64_t submitted_ms{}; ///< wall times, milliseconds since 1970; 0: not yet
    std::int64_t evaluated_ms{}; ///< when evaluation first started
    std::int64_t started_ms{};   ///< when Start was first sent
    std::int64_t ended_ms{};
    std::string outcome{}; ///< finished, cancelled
    std::string reason{};
    std::vector<Event> events{};

    /// The job's name in messages and certificates of this attempt, so that what is late from an earlier one is
    /// recognised.
    [[nodiscard]] std::string wire_id() const;
    /// Moves on. REQUIRES: may_follow(phase, to)
    void enter(Phase to);
};

[[nodiscard]] nlohmann::json to_json_value(const Job& job);
/// Errors: invalid_argument.
[[nodiscard]] Result<Job> job_from_json(const nlohmann::json& json);
/// The store's record of the job, kind "job".
[[nodiscard]] Write write_of(const Job& job);
/// Deletes that record.
[[nodiscard]] Write removal_of(const std::string& job_id);
/// Reads all jobs. Errors: unavailable, for a record that cannot be read. Throws StoreDown.
[[nodiscard]] Result<std::vector<Job>> load_jobs(Store& store);

/// Makes a job id from a request id: its letters and digits in lower case, and a random end.
[[nodiscard]] std::string make_job_id(std::string_view request_id);

} // namespace muster::producer
