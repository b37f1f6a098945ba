/// How members begin a training of trees together: they agree, and each has a row. No torch.
#pragma once

#include "collective/group.h"
#include "worker/boosted_trees.h"

#include <cstdint>
#include <string>
#include <vector>

namespace muster::worker {

/// Throws std::invalid_argument, at all members, unless all have the same `facts`. Throws what the group throws.
///   group  null: alone
void require_agreement(collective::Group* group, const std::string& facts);

/// Returns the rows that this member computes with: its own, but that one with none, which LightGBM cannot have, gets
/// one from the member that has the most. Throws std::invalid_argument, at all members, when they have other than the
/// training rows between them, or there are too few rows; what the group throws.
[[nodiscard]] std::vector<std::int64_t> settle_rows(collective::Group* group, const TreeData& data);

} // namespace muster::worker
