/// Who is to blame when a group of functions has failed together: by evidence, not by who spoke first.
#pragma once

#include "producer/job.h"

#include <map>
#include <string>
#include <vector>

namespace muster::producer {

/// What a member said of its failure.
struct FailureReport {
    std::string dn;     ///< authenticated
    std::string reason; ///< of Failed
};

/// Names those of `members` that the next round goes without. `reports` are in the order in which they came, at most
/// one of each member, at least one in all.
///
/// A member whose own worker has ended, or whose words name no other member, has failed by itself, and that explains
/// what the others say: all such are blamed. Where every report only names others ("rank 1 (...) was lost"), the one
/// that most reports name is blamed; among equals one that has said nothing itself, then the one that was named first.
/// A report that names several (a chain of aborts) means the last.
[[nodiscard]] std::map<std::string, Exclusion> blame(const std::vector<std::string>& members,
                                                     const std::vector<FailureReport>& reports);

} // namespace muster::producer
