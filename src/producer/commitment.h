/// The decision, and the second part of the agreement: everybody signs the plan or nobody trains.
/// Source: ARCHITECTURE.md steps 4 and 5.
#pragma once

#include "producer/desk.h"
#include "producer/ending.h"
#include "producer/rounds.h"

#include <string>

namespace muster::producer {

/// Works on jobs in the phases deciding and committing, and leaves them running. One thread.
class Commitment {
public:
    Commitment(Desk& desk, Rounds& rounds, Ending& ending) : desk_{desk}, rounds_{rounds}, ending_{ending} {}

    /// Goes as far as it can now; false when there is nothing to do until a message or a deadline.
    bool step(LiveJob& job);
    /// Checks the signature and keeps it; a wrong one excludes its function and starts the next round.
    void on_committed(LiveJob& job, const std::string& dn, const Committed& committed);

private:
    bool decide(LiveJob& job);
    bool after_committing(LiveJob& job);
    bool send_commits(LiveJob& job);
    bool start(LiveJob& job);

    Desk& desk_;
    Rounds& rounds_;
    Ending& ending_;
};

/// What a signature is checked against.
struct Expected {
    std::string dn;          ///< of the function that must have signed
    std::string plan_digest; ///< what it must have signed
    std::string trust;       ///< PEM of the CAs that functions' certificates chain to
    WallTime now;
};
/// Checks that `committed` is the function's own signature over the digest. Errors: permission_denied, with the reason.
[[nodiscard]] Result<void> check_signature(const Committed& committed, const Expected& expected);

} // namespace muster::producer
