/// The training function's agent: agrees, prepares data, supervises the worker, reports. One job at a time.
#pragma once

#include "base/clock.h"
#include "base/guarded.h"
#include "function/active_job.h"
#include "function/agent_world.h"
#include "function/catalogue.h"
#include "function/received_rows.h"
#include "port/producer_link.h"
#include "port/worker_process.h"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace muster::function {

/// The agent. on_* come from other threads and only queue; step() does the work, on one thread. What happens within
/// a job: active_job.h.
class Agent final : public ProducerEvents, public WorkerEvents {
public:
    using World = AgentWorld;

    Agent(AgentSettings settings, Catalogue catalogue, World world);
    ~Agent() override;

    // ProducerEvents, any thread
    Hello make_hello() override;
    Heartbeat make_heartbeat() override;
    void on_message(ToFunction message) override;
    void on_disconnected(const std::string& reason) override;
    // WorkerEvents, any thread
    void on_worker_message(const std::string& job, FromWorker message) override;
    void on_worker_exit(const std::string& job, const std::string& reason) override;

    /// Goes on with what a former agent of this function has left, or ends it and tells the producer. To be called
    /// once, before the link to the producer starts.
    void take_over(SteadyTime now);
    /// The producer's epoch as the jobs taken over know it; 0: none.
    [[nodiscard]] std::int64_t epoch_left() const { return epoch_left_; }

    /// Handles everything queued, then what is due at `now`. One thread.
    void step(SteadyTime now);
    /// Calls step() whenever something arrives and every 200 ms, until stopped; then ends the job it has.
    void run(const std::stop_token& stop);

private:
    struct NewsOf {
        std::string job;
        JobNews news;
    };
    struct Disconnected {
        std::string reason;
    };
    /// FromFunction: to be sent by the next step.
    using Event = std::variant<ToFunction, NewsOf, Disconnected, FromFunction>;

    void queue(Event event);
    void handle(Event& event, SteadyTime now);
    void handle_order(const ToFunction& message, SteadyTime now);
    void propose(const Propose& order, SteadyTime now);
    /// Accepts within `limits`. Errors: unavailable, when no socket or key can be made.
    Result<AcceptedJob> make_job(const Propose& order, const Limits& limits, const std::vector<DataSource>& sources);
    void upload(Done done, std::filesystem::path file);
    void fetch(const std::string& job, const ModelArchive& archive);
    /// `job` is a copy: the name often is the current job's own, which ends here.
    void release(std::string job, const std::string& reason, bool keep_rows, SteadyTime now);
    void expire(SteadyTime now);
    void send(const FromFunction& message);
    [[nodiscard]] bool holds(const std::string& job) const;
    [[nodiscard]] std::vector<HeldJob> held_jobs() const;
    [[nodiscard]] std::vector<DataSource> sources();
    [[nodiscard]] JobParts parts();
    void publish_state();

    AgentSettings settings_;
    World world_;
    ReceivedRows rows_; ///< outlives the job, whose next attempt goes on with them
    std::unique_ptr<ActiveJob> job_;
    std::int64_t epoch_left_{};
    std::jthread fetcher_;  ///< of a user's program
    std::jthread uploader_; ///< the agent's, not the job's: a release must not wait for it

    /// What make_hello() and make_heartbeat() tell, for other threads.
    struct Public {
        std::vector<HeldJob> jobs;
        std::vector<DataSource> sources;
    };
    Guarded<Catalogue> catalogue_;
    Guarded<Public> public_;

    std::mutex inbox_mutex_;
    std::condition_variable_any inbox_ready_;
    std::deque<Event> inbox_;
};

} // namespace muster::function
