/// From a queued job to measured candidates: evaluate, propose, prepare, calibrate. Source: ARCHITECTURE.md steps 2, 3.
#pragma once

#include "producer/candidates.h"
#include "producer/desk.h"
#include "producer/ending.h"

#include <string>

namespace muster::producer {

/// Works on jobs in the phases queued to calibrating, and leaves them in deciding. One thread.
class Negotiation {
public:
    Negotiation(Desk& desk, Ending& ending) : desk_{desk}, ending_{ending} {}

    /// Goes as far as it can now; false when there is nothing to do until a message or a deadline.
    bool step(LiveJob& job);

    void on_accept(LiveJob& job, const std::string& dn, const Accept& accept, const std::string& counter);
    void on_prepared(LiveJob& job, const std::string& dn, const Prepared& prepared);
    void on_calibrated(LiveJob& job, const std::string& dn, const Calibrated& calibrated);
    /// A candidate has refused, failed or is gone. In calibrating the round starts again without it, for the group it
    /// was in cannot go on; before that the others just go on.
    void drop(LiveJob& job, const std::string& dn, const Exclusion& why);
    /// As drop, for one that answered Propose with Refuse and so holds no lease.
    void on_refuse(LiveJob& job, const std::string& dn, const Refuse& refuse);
    /// Releases everybody and evaluates again; `without` are excluded from now on.
    void next_round(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason);
    /// Releases everybody and waits: the consumer holds the job.
    void hold(LiveJob& job);

private:
    bool begin(LiveJob& job);
    bool resume(LiveJob& job);
    bool evaluate(LiveJob& job);
    bool await_function(LiveJob& job, const std::string& reason, bool later);
    bool propose(LiveJob& job, const Choice& choice);
    bool after_agreeing(LiveJob& job);
    bool after_preparing(LiveJob& job);
    bool after_calibrating(LiveJob& job);
    bool calibrate(LiveJob& job);
    void drop_other_data(LiveJob& job);
    bool use_known_measurements(LiveJob& job) const;
    void drop_silent(LiveJob& job, Answer::State expected, const char* what);
    [[nodiscard]] static bool all_reached(const LiveJob& job, Answer::State state);
    bool enter(LiveJob& job, Phase phase, milliseconds wait);

    Desk& desk_;
    Ending& ending_;
};

/// What a Refuse means for the rest of the job.
[[nodiscard]] Exclusion exclusion_of(const Refuse& refuse, std::int64_t now_ms);

} // namespace muster::producer
