/// The training function's agent: agrees, prepares data, supervises the worker, reports. One job at a time.
#pragma once

#include "base/clock.h"
#include "base/guarded.h"
#include "base/id.h"
#include "function/catalogue.h"
#include "function/policy.h"
#include "port/producer_link.h"
#include "port/worker_process.h"
#include "tls/keys.h"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>

namespace muster::function {

/// What the agent is made with.
struct AgentSettings {
    std::string dn;
    std::string version;
    Policy policy{};
    std::chrono::seconds encode_timeout{600}; ///< for reading and encoding a source
    std::chrono::seconds upload_timeout{600}; ///< for the model archive
    std::chrono::seconds orphan_time{600};    ///< a running job goes on this long without a producer
    std::chrono::seconds worker_lease{30};    ///< a worker ends by itself this long after the agent is gone
};

/// The agent. on_* come from other threads and only queue; step() does the work, on one thread.
class Agent final : public ProducerEvents, public WorkerEvents {
public:
    /// Everything outside it; outlives the agent.
    struct World {
        Clock& clock;
        ProducerLink& producer;
        WorkerLauncher& launcher;
        DataProgram& data;
        std::function<Capacity()> capacity;     ///< what the function has now
        std::function<tls::KeyPair()> identity; ///< its certificate and key, which sign agreements
    };

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

    /// Handles everything queued, then what is due at `now`. One thread.
    void step(SteadyTime now);
    /// Calls step() whenever something arrives and every 200 ms, until stopped; then ends the job it has.
    void run(const std::stop_token& stop);

private:
    struct Job;
    struct Encoded {
        std::string job;
        Result<DataProgram::Encoded> result;
    };
    struct Uploaded {
        Done done;
        Result<void> result;
    };
    struct FromWorkerOf {
        std::string job;
        FromWorker message;
    };
    struct WorkerExit {
        std::string job;
        std::string reason;
    };
    struct Disconnected {
        std::string reason;
    };
    using Event = std::variant<ToFunction, FromWorkerOf, WorkerExit, Encoded, Uploaded, Disconnected>;

    void queue(Event event);
    void handle(Event& event, SteadyTime now);
    void handle_order(const ToFunction& message, SteadyTime now);
    void propose(const Propose& order, SteadyTime now);
    void prepare(const Prepare& order);
    void calibrate(const Calibrate& order);
    void commit(const Commit& order, SteadyTime now);
    void start(const Start& order);
    void encoded(Encoded& event);
    void from_worker(FromWorkerOf& event);
    void done(Done message);
    void uploaded(Uploaded& event);
    void finish(Done message);
    void disconnected(const std::string& reason, SteadyTime now);
    void fail(const std::string& reason);
    /// `job` is a copy: the name often is the current job's own, which ends here.
    void release(std::string job, const std::string& reason);
    void expire(SteadyTime now);
    void send(const FromFunction& message);
    [[nodiscard]] bool holds(const std::string& job) const;
    [[nodiscard]] std::vector<HeldJob> held_jobs() const;
    void publish_state();

    AgentSettings settings_;
    World world_;
    std::unique_ptr<Job> job_;
    std::jthread uploader_;

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
