/// The limits and deadlines of the producer's brain. `app` fills them from the configuration file.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster::producer {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What happens to a job on pinned rows that a site takes no part in: it waits, or goes on without them and says so.
enum class MissingRows { wait, go_on };

/// Each field: meaning, unit, default. All durations must be positive.
struct Settings {
    // What the producer manages.
    std::string root{"SubNetwork=1"};                                ///< DN everything lives under
    std::string own_function{"SubNetwork=1,MLTrainingFunction=mlt"}; ///< the entry that takes requests
    std::string repository{"SubNetwork=1,MLModelRepository=1"};      ///< where models appear
    std::string public_url{};                                        ///< "https://host:port", start of artefact URIs

    // Policy.
    int default_priority{100};                          ///< 0 to 65535; lower runs first
    std::map<std::string, int> priority_by_source{};    ///< trainingRequestSource -> priority
    bool split_allowed_by_default{true};                ///< when distributedTrainingExpectation is absent
    MissingRows missing_rows{MissingRows::wait};        ///< of pinned data, where a site is lost or refuses
    std::vector<std::string> notification_recipients{}; ///< allowed starts of recipient addresses; empty: none

    // Deadlines of the agreement.
    milliseconds propose_wait{5'000};         ///< answers to Propose
    milliseconds prepare_wait{180'000};       ///< answers to Prepare: reading the data and building the model
    milliseconds calibrate_wait{60'000};      ///< answers to Calibrate
    milliseconds commit_wait{20'000};         ///< answers to Commit
    milliseconds blame_wait{2'000};           ///< from a group's first Failed, for what its other members say of it
    milliseconds release_wait{10'000};        ///< Released after Release; then the function counts as free
    milliseconds agreement_wait_max{120'000}; ///< how long a request may find no function before it is given up

    milliseconds holder_wait_max{600'000}; ///< how long a job on pinned rows waits for a site that has some

    milliseconds gather_wait{3'000}; ///< after a start, for functions known from before to connect again

    // Running jobs.
    seconds lease{30};                       ///< granted by each Propose, Commit and KeepAlive
    milliseconds keep_alive_every{5'000};    ///< well below `lease`
    milliseconds reconnect_wait{10'000};     ///< a member whose connection broke may come back within it
    milliseconds adopt_wait{30'000};         ///< members of running jobs report within it after a restart
    milliseconds progress_every{1'000};      ///< least time between two progress writes of a job
    milliseconds finish_wait{60'000};        ///< from the first Done to the last
    seconds certificate_lifetime{24 * 3600}; ///< of job certificates

    // Limits.
    std::size_t candidates_max{16}; ///< functions proposed to for one job
    std::size_t attempts_max{8};    ///< rounds of agreement for one job
    std::size_t jobs_max{1'000};    ///< unfinished jobs; further requests are refused
    std::size_t events_max{200};    ///< log entries kept of a job
    std::size_t inbox_max{
        65'536}; ///< messages waiting for the loop; then progress is dropped, other talkers disconnected
    std::size_t outbox_per_subscription_max{10'000}; ///< undelivered notifications; then the oldest is dropped

    // Records.
    seconds retention{24 * 3600};                    ///< finished requests are deleted after it
    std::size_t keep_finished_jobs{1'000};           ///< records of jobs whose requests are gone, for their logs
    seconds keep_finished_jobs_for{90 * 24 * 3'600}; ///< from their end; then those records go as well
    milliseconds retry_first{1'000};                 ///< pause after a first failed delivery; doubles
    milliseconds retry_longest{60'000};              ///< longest pause between deliveries
    milliseconds capacity_every{10'000};             ///< least time between two capacity writes of a function
};

} // namespace muster::producer
