/// Checks attribute values against the class table, and applies the standard's write rules.
#pragma once

#include "base/result.h"
#include "nrm/class_table.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <vector>

namespace muster::nrm {

using Json = nlohmann::json;

/// Most items a list may have, unless its row says otherwise.
inline constexpr std::size_t list_items_max = 4096;
/// Most problems that one check lists; a body with more is no better understood for seeing them all.
inline constexpr std::size_t problems_max = 50;

/// All that is wrong with a write, one error for each attribute, each with its JSON pointer, e.g.
/// "/attributes/performanceRequirements/0/performanceScore". At most problems_max.
using Problems = std::vector<Error>;

/// Checks the attributes of an object to be created by a consumer and returns them as they will be kept: read-only
/// values dropped, defaults put in. A null stands for an absent attribute. `problems` lists unknown attributes, wrong
/// types, missing required ones; when it has grown, the result is not to be used. What depends on more than one
/// attribute is left to request_rules.h and the producer.
[[nodiscard]] Json created(const ClassRow& row, const Json& attributes, Problems& problems);

/// Checks a replacement (PUT on an existing object) and returns the new attributes: read-only and invariant values may
/// be sent unchanged or left out, never changed; absent optional ones go away or to their default.
[[nodiscard]] Json replaced(const ClassRow& row, const Json& current, const Json& wanted, Problems& problems);

/// Applies an RFC 7396 merge patch to the attributes under the same write rules.
[[nodiscard]] Json merged(const ClassRow& row, const Json& current, const Json& patch, Problems& problems);

/// Checks types and names only, for what the producer itself writes (tests, debug builds).
void check_types(const ClassRow& row, const Json& attributes, Problems& problems);

} // namespace muster::nrm
