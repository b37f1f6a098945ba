/// join(): brings up all connections of one rank of a group.
#pragma once

#include "collective/connection.h"
#include "collective/group.h"

#include <memory>
#include <vector>

namespace muster::collective {

/// The connections of one rank: by rank, GroupSpec::stripes of them each; none for this rank.
using Edges = std::vector<std::vector<std::unique_ptr<Connection>>>;

/// Accepts and dials in one thread until all edges are up. Each rank dials the higher ones. Strangers cost a bounded
/// number of half-open handshakes, each with a deadline. Errors: as Group::connect.
[[nodiscard]] Result<Edges> join(const GroupSpec& spec, int listener, Dialer& dialer, Deadline deadline);

} // namespace muster::collective
