/// The worker of one job, as the agent sees it. The real one is a process with a Unix socket
/// (function/worker_socket.h).
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "model/messages.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <variant>

namespace muster {

/// Reads what muster-data left, builds the model.
struct WorkerPrepare {
    std::string job;
    std::string recipe;           ///< canonical JSON
    std::filesystem::path matrix; ///< folder with the matrix files
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

} // namespace muster
