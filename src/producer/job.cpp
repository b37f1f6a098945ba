#include "producer/job.h"

#include "base/assert.h"
#include "base/id.h"
#include "wire/read_struct.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace muster::producer {
namespace {

constexpr auto job_kind = "job";
constexpr std::size_t request_part_max = 40;

constexpr std::array<std::pair<Phase, std::string_view>, 10> names{{{Phase::queued, "QUEUED"},
                                                                    {Phase::evaluating, "EVALUATING"},
                                                                    {Phase::agreeing, "AGREEING"},
                                                                    {Phase::preparing, "PREPARING"},
                                                                    {Phase::calibrating, "CALIBRATING"},
                                                                    {Phase::deciding, "DECIDING"},
                                                                    {Phase::committing, "COMMITTING"},
                                                                    {Phase::running, "RUNNING"},
                                                                    {Phase::finishing, "FINISHING"},
                                                                    {Phase::ended, "ENDED"}}};

} // namespace

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Exclusion, code, words, until_ms)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Event, time_ms, event)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(JobMember, dn, identity, addresses, batch_rows, state_share, stage, rows_from)
// Found by nlohmann's conversions. As with its own macro for enums, an unknown name is the first phase.
static void to_json(nlohmann::json& json, Phase phase) {
    json = name_of(phase);
}
static void from_json(const nlohmann::json& json, Phase& phase) {
    const auto found = std::ranges::find_if(names, [&](const auto& name) { return json == name.second; });
    phase = (found == names.end() ? names.begin() : found)->first;
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Job,
                                   id,
                                   request,
                                   process,
                                   caller,
                                   consumer,
                                   inference,
                                   recipe,
                                   recipe_digest,
                                   phase,
                                   attempt,
                                   generation,
                                   excluded,
                                   not_asked,
                                   leases,
                                   members,
                                   layout,
                                   missing,
                                   suspended,
                                   plan,
                                   agreement,
                                   plan_digest,
                                   signatures,
                                   done,
                                   submitted_ms,
                                   evaluated_ms,
                                   started_ms,
                                   ended_ms,
                                   outcome,
                                   reason,
                                   events)

std::string_view name_of(Phase phase) {
    return names.at(static_cast<std::size_t>(phase)).second;
}

bool may_follow(Phase from, Phase to) {
    if (from == Phase::ended) {
        return false;
    }
    if (to == Phase::ended) {
        return true;
    }
    if (is_training(from)) { // a job on pinned rows that lost a site begins again
        return (from == Phase::running && to == Phase::finishing) || to == Phase::evaluating;
    }
    if (to == Phase::evaluating || to == Phase::queued) { // a new round, or held by the consumer
        return true;
    }
    switch (to) {
    case Phase::agreeing:
        return from == Phase::evaluating;
    case Phase::preparing:
        return from == Phase::agreeing;
    case Phase::calibrating:
        return from == Phase::preparing;
    case Phase::deciding:
        return from == Phase::preparing || from == Phase::calibrating;
    case Phase::committing:
        return from == Phase::deciding;
    case Phase::running:
        return from == Phase::committing;
    default:
        return false;
    }
}

std::string Job::wire_id() const {
    return attempt == 1 ? id : id + "-" + std::to_string(attempt);
}

void Job::enter(Phase to) {
    MUSTER_ASSERT(may_follow(phase, to));
    phase = to;
}

nlohmann::json to_json_value(const Job& job) {
    return nlohmann::json(job);
}

Result<Job> job_from_json(const nlohmann::json& json) {
    return wire::read_struct<Job>(json, "job");
}

Write write_of(const Job& job) {
    return {.kind = job_kind, .key = job.id, .body = to_json_value(job).dump()};
}

Write removal_of(const std::string& job_id) {
    return {.kind = job_kind, .key = job_id, .body = std::nullopt};
}

Result<std::vector<Job>> load_jobs(Store& store) {
    std::vector<Job> jobs;
    for (const Record& record : store.list(job_kind)) {
        auto job = job_from_json(nlohmann::json::parse(record.body, nullptr, false));
        if (!job) {
            Error error = std::move(job).error().within("the stored job \"" + record.key + "\"");
            error.code = ErrorCode::unavailable;
            return error;
        }
        jobs.push_back(*std::move(job));
    }
    return jobs;
}

std::string make_job_id(std::string_view request_id) {
    std::string id;
    for (const char letter : request_id.substr(0, request_part_max)) {
        const auto byte = static_cast<unsigned char>(letter);
        const bool keep = byte < 128 && std::isalnum(byte) != 0;
        id += keep ? static_cast<char>(std::tolower(byte)) : '-';
    }
    return id + "-" + random_hex(4);
}

} // namespace muster::producer
