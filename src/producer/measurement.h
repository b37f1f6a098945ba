/// What is known of prepared functions is used, the rest is measured on the real model. Source: ARCHITECTURE.md step 3.
#pragma once

#include "producer/desk.h"
#include "producer/rounds.h"

#include <string>

namespace muster::producer {

/// Works on jobs in the phase calibrating, and leaves them in deciding. One thread.
class Measurement {
public:
    Measurement(Desk& desk, Rounds& rounds) : desk_{desk}, rounds_{rounds} {}

    /// Everybody has prepared: asks for what is not known, or goes on to deciding. False when nothing was done.
    bool begin(LiveJob& job);
    /// Goes on when all are measured; false when there is nothing to do until a message or a deadline.
    bool step(LiveJob& job);
    void on_calibrated(LiveJob& job, const std::string& dn, const Calibrated& calibrated);

private:
    bool use_known_measurements(LiveJob& job) const;
    bool calibrate(LiveJob& job);

    Desk& desk_;
    Rounds& rounds_;
};

} // namespace muster::producer
