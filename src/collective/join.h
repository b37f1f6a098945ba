/// join(): brings up all connections of one rank of a group.
#pragma once

#include "collective/connection.h"
#include "collective/group.h"

#include <memory>
#include <vector>

namespace muster::collective {

/// The connections of one rank. One unidirectional ring connection for each direction, and one connection for each
/// pair of ranks, for small messages and control.
struct Edges {
    std::unique_ptr<Connection> ring_in{};            ///< from rank - 1
    std::unique_ptr<Connection> ring_out{};           ///< to rank + 1
    std::vector<std::unique_ptr<Connection>> pairs{}; ///< by rank; none for this rank
};

/// Accepts and dials in one thread until all edges are up. Rank r dials r + 1 for the ring and every higher rank for
/// the pairs. Strangers cost a bounded number of half-open handshakes, each with a deadline.
/// Errors: as Group::connect.
[[nodiscard]] Result<Edges>
join(const GroupSpec& spec, int listener, Dialer& dialer, WireCounters& counters, Deadline deadline);

} // namespace muster::collective
