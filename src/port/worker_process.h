/// The worker of one job, as the agent sees it. The real one is a process with a Unix socket
/// (function/socket_worker.h).
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "model/messages.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// Builds the model for the data that the worker was started with, or that is described here.
struct WorkerPrepare {
    std::string job;
    std::string recipe;                  ///< canonical JSON
    std::optional<DataElsewhere> data{}; ///< of a worker that was started without
    int threads{1};
};
/// Joins generation 0 and measures.
struct WorkerCalibrate {
    Calibrate order;
    Secret key; ///< PEM of the job key
    int rank{};
};
/// Joins a generation and, on WorkerStart, trains.
struct WorkerCommit {
    Commit order;
    Secret key;
    int rank{};
    std::int64_t ship_bytes_per_second_max{}; ///< rows leave no faster; 0: as fast as it goes
};
struct WorkerStart {
    std::int64_t generation{};
};
/// Prolongs the worker's lease: without one for lease_seconds it ends by itself.
struct WorkerLease {
    std::int64_t lease_seconds{30};
};
struct WorkerStop {
    std::string reason;
};
using ToWorker = std::variant<WorkerPrepare, WorkerCalibrate, WorkerCommit, WorkerStart, WorkerLease, WorkerStop>;

/// The worker has joined the generation's group and waits for WorkerStart.
struct WorkerJoined {
    std::int64_t generation{};
};
/// The model archive lies in the job's output file (model.pt beside the worker's socket) with this digest.
using FromWorker = std::variant<Prepared, Calibrated, WorkerJoined, Progress, Done, Failed>;

/// What a worker tells. Called from the worker's own thread at the agent; implementations only queue.
class WorkerEvents {
public:
    virtual ~WorkerEvents() = default;
    virtual void on_worker_message(const std::string& job, FromWorker message) = 0;
    /// The process has ended. `reason` is for people: "exit status 1", "killed by signal 9", with its last words.
    virtual void on_worker_exit(const std::string& job, const std::string& reason) = 0;
};

/// An open file that shipped rows are written to.
struct LandingFile {
    std::string name; ///< of MatrixPart
    int fd{-1};       ///< readable and writable
};

/// What a worker may use, and the program of a user where that is the model.
struct WorkerLimits {
    double cpu_cores{1.0};
    std::int64_t memory_bytes{}; ///< 0: no limit
    std::int64_t lease_seconds{30};
    int program{-1};                    ///< open archive, borrowed by start(); -1: the model is one of ours
    std::int64_t program_seconds{60};   ///< one run of it may take
    std::vector<LandingFile> landing{}; ///< borrowed by start(); none: no rows are shipped to it
};

/// What an agent keeps of a job, so that it can go on with it after its own restart. No secrets.
struct JobRecord {
    std::string job;
    std::int64_t generation{};
    std::int64_t epoch{};                 ///< the producer's, as far as it was seen
    std::int64_t lease_seconds{};         ///< as last granted by an agreement
    std::string state;                    ///< as in HeldJob
    std::optional<Committed> committed{}; ///< what was signed
    std::optional<Done> done{};           ///< what the worker has said, when it is still to be uploaded or passed on
};

/// A job's folder that a former agent has left.
struct LeftJob {
    std::string job;
    std::optional<JobRecord> record; ///< none, when it cannot be read
};

/// A running worker. Its destructor ends the process, waits for it, and removes everything of it.
class WorkerProcess {
public:
    virtual ~WorkerProcess() = default;
    /// Errors: unavailable, when the process is gone or does not read.
    virtual Result<void> send(const ToWorker& message) = 0;
    /// The file the worker leaves its model archive in.
    [[nodiscard]] virtual std::filesystem::path model_file() const = 0;
    /// Keeps the record beside the worker, replaced in one step, for WorkerLauncher::left(). One thread.
    /// Errors: unavailable (disk full).
    virtual Result<void> remember(const JobRecord& record) = 0;
};

/// A place for peers to connect to, reserved for one job before it has a worker.
class PeerListener {
public:
    virtual ~PeerListener() = default;
    /// "host:port" under which other functions reach it.
    [[nodiscard]] virtual std::vector<std::string> addresses() const = 0;
};

/// Starts workers. Safe from any thread.
class WorkerLauncher {
public:
    virtual ~WorkerLauncher() = default;
    /// Errors: unavailable, when no socket can be opened.
    virtual Result<std::unique_ptr<PeerListener>> listen(const std::string& job) = 0;
    /// `matrix` is the folder that muster-data left; empty: the worker gets no data.
    /// Errors: unavailable, with what is missing. `events` outlives the worker; `listener` is borrowed until it ended.
    virtual Result<std::unique_ptr<WorkerProcess>> start(const std::string& job,
                                                         const std::filesystem::path& matrix,
                                                         const WorkerLimits& limits,
                                                         PeerListener& listener,
                                                         WorkerEvents& events) = 0;
    /// What a former agent has left, the newest first. To be called before any start().
    virtual std::vector<LeftJob> left() = 0;
    /// Takes a job of left() over. The worker tells its last state again; when it is gone, on_worker_exit follows, and
    /// what it left stays until the returned object's end. `events` outlives the worker.
    virtual std::unique_ptr<WorkerProcess> take_over(const std::string& job, WorkerEvents& events) = 0;
};

/// Turns a source into an encoded matrix (the program muster-data). Safe from any thread.
class DataProgram {
public:
    virtual ~DataProgram() = default;
    struct Encoded {
        std::filesystem::path folder;
        MatrixInfo info;
    };
    /// What to encode.
    struct Order {
        std::string recipe; ///< canonical JSON
        std::filesystem::path train;
        std::optional<std::filesystem::path> test;
        std::int64_t memory_bytes{};                  ///< it may use; 0: the program's own limit
        std::optional<Preprocessing> preprocessing{}; ///< to encode by; none: what the training source says
    };
    using Callback = std::function<void(Result<Encoded>)>;
    /// Encodes in the background and calls back from another thread, at the latest at `deadline`.
    /// Errors (to the callback): invalid_argument with the place in the data; not_found; resource_exhausted (memory, a
    /// limit); unavailable; deadline_exceeded.
    virtual void encode(const Order& order, Deadline deadline, Callback done) = 0;

    using StatisticsCallback = std::function<void(Result<TableStatistics>)>;
    /// Gathers statistics of the training source in the background, without what fewer than `group_rows_min` rows say;
    /// otherwise as encode().
    virtual void
    gather(const Order& order, std::int64_t group_rows_min, Deadline deadline, StatisticsCallback done) = 0;
};

} // namespace muster
