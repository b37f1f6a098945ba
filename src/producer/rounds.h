/// Rounds of agreement: who is in one, who leaves it, and how one is given up for the next.
#pragma once

#include "producer/desk.h"

#include <map>
#include <string>
#include <vector>

namespace muster::producer {

/// What negotiation, measurement and commitment have in common. One thread.
class Rounds {
public:
    explicit Rounds(Desk& desk) : desk_{desk} {}

    /// Goes on to `phase`, whose answers are waited for until now + wait; false when that could not be written.
    bool enter(LiveJob& job, Phase phase, milliseconds wait);
    /// A candidate has refused, failed or is gone. In calibrating the round starts again without it, for the group it
    /// was in cannot go on; before that the others just go on.
    void drop(LiveJob& job, const std::string& dn, const Exclusion& why);
    /// A member has failed. Where it was in a group, what the others say is waited for; settle() then begins the next
    /// round.
    void on_failed(LiveJob& job, const std::string& dn, const std::string& reason);
    /// When a member has failed and all have spoken, or blame_wait is over: the next round, without who is to blame.
    /// False when it is still too early. REQUIRES: job.round.failures is not empty
    bool settle(LiveJob& job);
    /// As drop, for one that answered Propose with Refuse and so holds no lease.
    void on_refuse(LiveJob& job, const std::string& dn, const Refuse& refuse);
    /// Releases everybody and evaluates again; `without` are excluded from now on.
    void next_round(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason);
    /// Whether a job that needs the rows of all sites has lost one since they were asked; then the next round begins,
    /// and waits for it.
    bool lacks_rows(LiveJob& job);
    /// A job that has lost a member while it trains and can begin again: releases everybody, and evaluates again; of
    /// pinned rows as soon as the site is back. Without those that `without` names.
    void suspend(LiveJob& job, const std::map<std::string, Exclusion>& without, const std::string& reason);
    /// Releases everybody and waits: the consumer holds the job.
    void hold(LiveJob& job);

private:
    /// Takes `dn` out of the round; the event is "DN <event>: ...". False when that could not be written.
    bool exclude(LiveJob& job, const std::string& dn, const Exclusion& why, const char* event);

    Desk& desk_;
};

/// DNs of those who take part, so that the round may be changed while they are gone through.
[[nodiscard]] std::vector<std::string> names_in(const Round& round);
/// Says whether all who take part have come as far as `state`.
[[nodiscard]] bool all_reached(const Round& round, Answer::State state);

/// What a Refuse means for the rest of the job.
[[nodiscard]] Exclusion exclusion_of(const Refuse& refuse, std::int64_t now_ms);

} // namespace muster::producer
