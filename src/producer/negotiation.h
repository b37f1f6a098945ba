/// From a queued job to prepared candidates: evaluate, propose, prepare. Source: ARCHITECTURE.md steps 2, 3.
#pragma once

#include "producer/candidates.h"
#include "producer/desk.h"
#include "producer/ending.h"
#include "producer/measurement.h"
#include "producer/rounds.h"

#include <optional>
#include <string>
#include <vector>

namespace muster::producer {

/// Works on jobs in the phases queued to preparing, and hands them to Measurement. One thread.
class Negotiation {
public:
    Negotiation(Desk& desk, Rounds& rounds, Measurement& measurement, Ending& ending)
        : desk_{desk}, rounds_{rounds}, measurement_{measurement}, ending_{ending} {}

    /// Goes as far as it can now; false when there is nothing to do until a message or a deadline.
    bool step(LiveJob& job);

    void on_accept(LiveJob& job, const std::string& dn, const Accept& accept, const std::string& counter);
    void on_gathered(LiveJob& job, const std::string& dn, const Gathered& gathered);
    void on_prepared(LiveJob& job, const std::string& dn, const Prepared& prepared);

private:
    bool begin(LiveJob& job);
    bool resume(LiveJob& job);
    bool evaluate(LiveJob& job);
    bool await_function(LiveJob& job, const std::string& reason, bool later);
    bool propose(LiveJob& job, const Choice& choice);
    void send_proposals(LiveJob& job, const Choice& choice);
    bool after_agreeing(LiveJob& job);
    bool after_preparing(LiveJob& job);
    void send_prepare(LiveJob& job,
                      const std::vector<std::string>& to,
                      const std::optional<DataElsewhere>& data,
                      const std::optional<Preprocessing>& preprocessing);
    void describe_data(LiveJob& job, const Prepared& prepared);
    void drop_other_data(LiveJob& job);
    bool after_gathering(LiveJob& job);
    [[nodiscard]] Result<Preprocessing> merge_statistics(LiveJob& job);
    void drop_silent(LiveJob& job, const std::vector<std::string>& awaited, Answer::State expected, const char* what);

    Desk& desk_;
    Rounds& rounds_;
    Measurement& measurement_;
    Ending& ending_;
};

} // namespace muster::producer
