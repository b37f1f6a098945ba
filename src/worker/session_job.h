/// SessionJob: what the worker does for one job, order by order, on one thread of its own.
#pragma once

#include "collective/group.h"
#include "port/worker_process.h"
#include "worker/matrix.h"

#include <functional>
#include <memory>
#include <string>

namespace muster::worker {

/// Rows and how they were encoded: what the agent passed in descriptors before the box was closed. No rows: the data is
/// at other functions.
struct SessionData {
    MatrixSet matrices;
    MatrixInfo info;
    Preprocessing preprocessing;
};

/// What a SessionJob works with. References outlive it.
struct SessionJobSettings {
    int peer_listener{-1};       ///< listening TCP socket for the other members
    int output{-1};              ///< readable and writable; rank 0 writes the model archive into it
    int weights{-1};             ///< readable and writable; rank 0 gathers the weights of a split model in it
    MatrixDescriptors landing{}; ///< readable and writable; rows that are shipped here land in them. None: no rows do
    int program{-1};             ///< readable; the archive of a user's model, where the recipe has one
    Duration program_time{std::chrono::seconds{60}}; ///< one run of such a model, or its loading, may take
    std::int64_t memory_bytes_max{0};                ///< of this process; 0: not known
    int threads{1};                                  ///< intra-op threads of torch, when the order does not say
    std::string device{"cpu"}; ///< where whole models are trained: "cpu", "cuda:0"; it was started (start_device)
    Duration join_wait_max{std::chrono::seconds{30}};     ///< to connect all members of a generation
    Duration operation_timeout{std::chrono::seconds{30}}; ///< of each collective
};

/// Does orders one after the other on its own thread and reports each outcome: Prepared, Calibrated, WorkerJoined,
/// Progress, Done; Failed ends the job. An order that was done already is answered again, one that is under way is
/// not begun twice (orders may come twice). Methods may be called from any thread.
class SessionJob {
public:
    /// `report` is called on the job's thread, with the progress of a shipment on that one's; `data` and `dialer`
    /// outlive the job.
    SessionJob(const SessionData& data,
               SessionJobSettings settings,
               collective::Dialer& dialer,
               std::function<void(FromWorker)> report);
    /// Like stop(), then waits for the thread, which may be within a training step.
    ~SessionJob();
    SessionJob(const SessionJob&) = delete;
    SessionJob& operator=(const SessionJob&) = delete;

    void prepare(WorkerPrepare order);
    void calibrate(WorkerCalibrate order);
    /// A higher generation ends the one before.
    void commit(WorkerCommit order);
    void start(const WorkerStart& order);
    /// Ends what is under way: the training after its current step, the group at once on all ranks with `reason`.
    /// Later orders are not begun.
    void stop(const std::string& reason);
    /// Says that a user's model has been running for longer than it may: nothing but the end of the process stops it.
    [[nodiscard]] bool overrun() const;
    /// True while an order is under way or waits.
    [[nodiscard]] bool busy() const;

private:
    class State;
    std::unique_ptr<State> state_;
};

} // namespace muster::worker
