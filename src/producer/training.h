/// Jobs whose members train: progress, the end of each member, broken connections, adoption after a restart.
/// Source: ARCHITECTURE.md steps 6 and 8.
#pragma once

#include "producer/desk.h"
#include "producer/ending.h"
#include "producer/rounds.h"

#include <string>

namespace muster::producer {

/// Works on jobs in the phases running and finishing. One thread.
class Training {
public:
    Training(Desk& desk, Rounds& rounds, Ending& ending) : desk_{desk}, rounds_{rounds}, ending_{ending} {}

    /// Deadlines and the progress record; false when there is nothing to do until a message or a deadline.
    bool step(LiveJob& job);

    void on_progress(LiveJob& job, const std::string& dn, const Progress& progress);
    void on_done(LiveJob& job, const std::string& dn, const Done& done);
    void on_failed(LiveJob& job, const std::string& dn, const std::string& reason);
    void on_lost(LiveJob& job, const std::string& dn);
    /// A function is no longer let in: a job with it ends.
    void on_revoked(LiveJob& job, const std::string& dn, const std::string& reason);
    /// A member is connected (again) and says in which state it holds the job; `state` empty: not at all.
    void on_hello(LiveJob& job, const std::string& dn, const std::string& state);
    /// The producer has started with this job running.
    void await_adoption(LiveJob& job);

private:
    void write_progress(LiveJob& job);
    void lose(LiveJob& job, const std::string& dn, const std::string& reason);

    Desk& desk_;
    Rounds& rounds_;
    Ending& ending_;
};

} // namespace muster::producer
