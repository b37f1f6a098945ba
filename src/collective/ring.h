/// The ring: large messages of all ranks on their way around, in pieces that are passed on as they come.
#pragma once

#include "collective/channel.h"
#include "collective/reduction.h"
#include "collective/schedule.h"

#include <cstddef>
#include <span>

namespace muster::collective {

/// How a plan's pieces travel and what is done with them.
struct RingFlow {
    const Reduction* reduction{}; ///< for plans that reduce; its work format is that of the elements
    /// Other than as_is: `buffer` is of f32, and a piece is rounded when it is sent.
    WireFormat wire{WireFormat::as_is};
    Step first_step{0}; ///< of the plan's first piece
};

/// Runs this rank's part of a plan on `buffer`, over all lanes. Throws GroupFailed.
void run_ring(Channel& channel, const RingPlan& plan, std::span<std::byte> buffer, const RingFlow& flow);

} // namespace muster::collective
