/// One accepted job at this function: its data, its worker, its signature and its outcome.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/id.h"
#include "function/agent_world.h"
#include "function/policy.h"
#include "model/messages.h"
#include "model/recipe.h"
#include "port/worker_process.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster::function {

/// The worker's process has ended.
struct WorkerExit {
    std::string reason;
};
/// The model was uploaded, or could not be.
struct Uploaded {
    Done done;
    Result<void> result;
};
/// The program of a user was downloaded, or could not be.
struct Fetched {
    Result<UniqueFd> program;
};
/// The first news of a job that was taken over: what was begun is ended.
struct TakenOver {};
/// What other threads have to say to a job.
using JobNews = std::variant<FromWorker,
                             WorkerExit,
                             Result<DataProgram::Encoded>,
                             Result<TableStatistics>,
                             Uploaded,
                             Fetched,
                             TakenOver>;

/// What a job uses of its agent; outlives it.
struct JobParts {
    const AgentSettings& settings;
    const AgentWorld& world;
    WorkerEvents& events;
    std::function<Result<std::filesystem::path>(const std::string& source)> file_of;
    std::function<std::vector<DataSource>()> sources;                           ///< the function's own catalogue
    std::function<Result<std::vector<LandingFile>>(const MatrixInfo&)> landing; ///< for rows of other functions
    std::function<void(const std::string& job, JobNews news)> post;             ///< any thread; ends in on_news()
    std::function<void(Done done, std::filesystem::path file)> upload;          ///< in the background; ends in Uploaded
    std::function<void(const std::string& job, const ModelArchive& archive)> fetch; ///< the same; ends in Fetched
};

/// What was promised to the producer.
struct AcceptedJob {
    Propose proposal;
    Limits limits;
    Secret key;    ///< PEM of the job key
    Accept accept; ///< as sent, to answer a repeated proposal
    std::unique_ptr<PeerListener> listener;
};

/// The state machine from acceptance to outcome. Sends its answers itself; orders may come twice. Its destructor ends
/// the worker. One thread, the agent's.
class ActiveJob {
public:
    ActiveJob(JobParts parts, AcceptedJob accepted, SteadyTime lease_until);
    /// Goes on with a job of a former agent. REQUIRES: can_go_on(record)
    ActiveJob(JobParts parts, const JobRecord& record, std::unique_ptr<WorkerProcess> worker, SteadyTime now);
    /// Whether another agent can go on: from the signature on. What comes before needs the job's key, which is in no
    /// file, and the producer goes on without this function then.
    [[nodiscard]] static bool can_go_on(const JobRecord& record);

    [[nodiscard]] const std::string& id() const { return accepted_.proposal.job; }
    [[nodiscard]] HeldJob held() const { return {.job = id(), .generation = generation_, .state = state_}; }
    /// Answers a repeated proposal.
    void repeat_accept();

    // Orders of the producer for this job.
    void prepare(const Prepare& order);
    void calibrate(const Calibrate& order);
    void commit(const Commit& order, SteadyTime now);
    void start(const Start& order);
    void keep_alive(SteadyTime lease_until) { lease_until_ = lease_until; }

    void on_news(JobNews& news);
    /// The connection to the producer broke: a running job goes on for the orphan time.
    void orphaned(const std::string& reason, SteadyTime now);
    /// Sends Done or Failed again, if it has come to that.
    void repeat_outcome();

    [[nodiscard]] bool expired(SteadyTime now) const { return now >= lease_until_; }
    /// Tells the producer that the lease ran out, unless it has been told of a failure.
    void report_expiry();
    /// Prolongs the worker's lease when that is due.
    void feed_worker(SteadyTime now);

private:
    void fetched(Fetched& fetched);
    void encode();
    void start_worker(const std::filesystem::path& matrix);
    void encoded(Result<DataProgram::Encoded>& result);
    void gather();
    void gathered(Result<TableStatistics>& result);
    void prepare_pinned(const Prepare& order);
    [[nodiscard]] Result<DataProgram::Order> data_order() const;
    [[nodiscard]] std::string words_of(const Error& error) const;
    [[nodiscard]] bool pinned() const { return accepted_.proposal.layout == DataLayout::pinned; }
    [[nodiscard]] std::string culprit() const;
    void from_worker(FromWorker& message);
    void worker_exit(const WorkerExit& exit);
    void joined(const WorkerJoined& message);
    void done(Done message);
    void go_on();
    void uploaded(Uploaded& upload);
    void finish(Done message);
    void fail(const std::string& reason);
    void remember();
    void send(const FromFunction& message);

    JobParts parts_;
    AcceptedJob accepted_;
    std::unique_ptr<WorkerProcess> worker_; // after the listener: it borrows it
    std::string recipe_;
    std::optional<ModelArchive> archive_; ///< of a model that a user brought
    UniqueFd program_;                    ///< that archive, until the worker has it
    std::optional<DataProgram::Encoded> encoded_;
    std::optional<DataElsewhere> elsewhere_;     ///< the data, where this function holds none
    std::optional<Gathered> gathered_;           ///< of pinned rows
    std::optional<Preprocessing> preprocessing_; ///< of pinned rows: what all sites encode by
    std::optional<Prepared> prepared_;
    std::optional<Calibrated> calibrated_;
    std::optional<Committed> committed_;
    std::optional<FromFunction> outcome_; ///< Done or Failed as sent; sent again after a reconnection
    bool ended_{false};                   ///< done or failed: the worker's own end is not another failure
    std::int64_t generation_{};
    bool taken_over_{false};       ///< data and key of the job are not known here
    std::int64_t lease_seconds_{}; ///< of the agreement
    std::optional<Done> done_;     ///< the worker's word, before it is the outcome
    bool joined_{false};
    bool start_wanted_{false};
    bool running_{false};
    std::string state_{"accepted"};
    SteadyTime lease_until_{};
    SteadyTime worker_lease_due_{};
};

/// Sends to the producer. What cannot be queued is lost, and logged as an error.
void send_to_producer(ProducerLink& producer, const FromFunction& message);

} // namespace muster::function
