/// What the parts of the reconcile loop share: the jobs in their hands and the ways to act. One thread only.
#pragma once

#include "base/clock.h"
#include "model/messages.h"
#include "port/artefacts.h"
#include "port/function_link.h"
#include "port/store.h"
#include "producer/blame.h"
#include "producer/calibrations.h"
#include "producer/fleet.h"
#include "producer/job.h"
#include "producer/object_tree.h"
#include "producer/request_rules.h"
#include "producer/settings.h"
#include "tls/keys.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace muster::producer {

/// A function in a round of agreement.
struct Answer {
    enum class State { proposed, accepted, gathered, prepared, calibrated, committed };
    State state{State::proposed};
    Accept accept{};
    std::string counter{};        ///< its words, when it offered less
    TableStatistics statistics{}; ///< of its pinned rows
    Prepared prepared{};
    std::optional<Measured> measured{};   ///< from the store or from this round
    bool measure_steps{};                 ///< asked to time steps in this round
    bool holds_data{true};                ///< false: good for a stage of a split model that others bring the rows to
    std::vector<std::string> rows_from{}; ///< without the data: DNs of those that may ship it the rows
};

/// What is known of a job only while this process lives; a restart begins the round anew.
struct Round {
    std::map<std::string, Answer> answers{};
    SteadyTime deadline{};
    DataLayout layout{DataLayout::whole};
    std::size_t asked{};                       ///< functions, to begin with
    bool merged{};                             ///< pinned rows: all were told what to encode by
    bool described{};                          ///< those without the data were told what it is like
    std::vector<FailureReport> failures{};     ///< of the group, in the order in which they came
    SteadyTime blame_at{};                     ///< then no further report is waited for
    std::optional<SteadyTime> waiting_since{}; ///< for any function to qualify
    std::string waiting_reason{};
};

/// The same for a job whose members train.
struct Watch {
    std::map<std::string, Progress> progress{};
    bool dirty{}; ///< progress came that was not written
    SteadyTime written_at{};
    std::set<std::string> present{};             ///< members that were heard of since this process started
    std::map<std::string, SteadyTime> lost_at{}; ///< members whose connection broke
    SteadyTime adopt_by{};
    std::optional<SteadyTime> finish_by{};
};

/// A job in the loop's hands.
struct LiveJob {
    Job record;
    Wish wish{};
    std::size_t rounds{}; ///< of agreement that have failed
    Round round{};
    Watch watch{};
};

/// Everything the loop acts on. All outlive it.
struct Desk {
    ObjectTree& tree;
    Store& store;
    Fleet& fleet;
    FunctionLink& link;
    Calibrations& calibrations;
    Artefacts& artefacts;
    const tls::Authority& job_authority;
    const std::string& function_trust; ///< PEM of the CAs that functions' certificates chain to
    Clock& clock;
    const Settings& settings;

    [[nodiscard]] SteadyTime now() const { return clock.steady_now(); }
    [[nodiscard]] std::int64_t wall_ms() const;

    using Stage = std::function<Result<void>(Transaction&)>;
    /// Commits the job as `updated` together with what `stage` does to objects; then, and only then, it is so in
    /// memory. Errors: those of `stage`. Throws StoreDown.
    [[nodiscard]] Result<void> save(LiveJob& job, Job updated, const Stage& stage = {});
    /// Adds a line to a job's log (the oldest go when there are too many) and to the program's.
    void note(Job& job, std::string event) const;
    /// Errors: unavailable.
    [[nodiscard]] Result<void> send(const std::string& dn, const ToFunction& message) { return link.send(dn, message); }

    /// A certificate for a member's data plane: the DN is the authenticated one, whatever the request says.
    /// Errors: invalid_argument.
    [[nodiscard]] Result<std::string> job_certificate(const LiveJob& job, const std::string& dn) const;

    [[nodiscard]] nrm::Dn request_of(const LiveJob& job) const;
    [[nodiscard]] nrm::Dn process_of(const LiveJob& job) const;
    [[nodiscard]] nrm::Dn model_of(const LiveJob& job) const;
    /// Stages a new progressStatus of the process.
    void stage_progress(Transaction& transaction, const LiveJob& job, nrm::Json progress) const;
    /// Releases everybody who may hold a lease of this round.
    /// `keep_rows`: rows that were shipped are kept where they are, for the next round.
    void release_all(const LiveJob& job, const std::string& reason, bool keep_rows = false);
    /// Says whether the consumer holds the job (suspendRequest or suspendProcess) or wants it cancelled.
    enum class Order { go, hold, cancel };
    [[nodiscard]] Order order_of(const Transaction& transaction, const LiveJob& job) const;
    [[nodiscard]] Order order_of(const LiveJob& job) const;
};

} // namespace muster::producer
