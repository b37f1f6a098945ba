/// The loop that moves every job towards its end: messages, deadlines, orders of consumers.
#pragma once

#include "port/function_link.h"
#include "producer/commitment.h"
#include "producer/desk.h"
#include "producer/ending.h"
#include "producer/finished_jobs.h"
#include "producer/managed_objects.h"
#include "producer/measurement.h"
#include "producer/negotiation.h"
#include "producer/rounds.h"
#include "producer/training.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

namespace muster::producer {

/// Owns the jobs. `step` and `run` are called by one thread; everything else is safe from any thread and only queues.
class Reconcile final : public FunctionEvents, public JobIntake {
public:
    explicit Reconcile(Desk desk);

    /// Takes over the stored jobs: those that did not train begin their agreement anew, those that did are waited for.
    /// Errors: unavailable, for a record that cannot be read. Throws StoreDown.
    [[nodiscard]] Result<void> load();
    /// Handles what came in and does all that can be done now. Throws StoreDown: nothing is lost, call again.
    void step();
    /// Steps whenever something comes in, and at least every `idle_wait`, until told to stop.
    void run(std::stop_token stop);

    void on_message(const std::string& dn, FromFunction message) override;
    void on_lost(const std::string& dn, const std::string& reason) override;
    void on_revoked(const std::string& dn, const std::string& reason) override;
    void submitted(Job job) override;
    void changed() override;
    [[nodiscard]] std::size_t unfinished() const override { return unfinished_; }

private:
    struct Lost {
        std::string dn;
        std::string reason;
        bool revoked{}; ///< for good
    };
    struct Message {
        std::string dn;
        FromFunction message;
    };
    using Item = std::variant<Message, Lost, Job>;

    void queue(Item item);
    void handle(const Item& item);
    void on_hello(const std::string& dn, const Hello& hello);
    void on_gone(const Lost& lost);
    void on_left(LiveJob& job, const std::string& dn);
    void dispatch(const std::string& dn, const FromFunction& message);
    void advance_all();
    /// One thing for one job; false when there is nothing to do now.
    bool advance(LiveJob& job);
    [[nodiscard]] LiveJob* find(const std::string& wire_id);
    [[nodiscard]] std::vector<LiveJob*> by_priority();
    [[nodiscard]] bool gathering() const;

    Desk desk_;
    Ending ending_;
    Rounds rounds_;
    Measurement measurement_;
    Negotiation negotiation_;
    Commitment commitment_;
    Training training_;
    std::map<std::string, LiveJob> jobs_{}; ///< by job id; ended ones until their request is deleted
    FinishedJobs finished_;
    SteadyTime started_{};
    std::atomic<std::size_t> unfinished_{0};

    std::mutex inbox_mutex_{};
    std::condition_variable_any inbox_news_{};
    std::deque<Item> inbox_{};
    bool news_{false};
};

} // namespace muster::producer
