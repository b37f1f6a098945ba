/// Checks attribute values against the class table, and applies the standard's write rules.
#pragma once

#include "base/result.h"
#include "nrm/class_table.h"

#include <nlohmann/json.hpp>

#include <vector>

namespace muster::nrm {

using Json = nlohmann::json;

/// All that is wrong with a write, one error for each attribute, each with its JSON pointer.
using Problems = std::vector<Error>;

/// Checks the attributes of an object to be created by a consumer and returns them as they will be kept: read-only
/// values dropped, defaults put in. `problems` lists unknown attributes, wrong types, missing required ones.
[[nodiscard]] Json created(const ClassRow& row, const Json& attributes, Problems& problems);

/// Checks a replacement (PUT on an existing object) and returns the new attributes: read-only and invariant values may
/// be sent unchanged or left out, never changed; absent optional ones go away or to their default.
[[nodiscard]] Json replaced(const ClassRow& row, const Json& current, const Json& wanted, Problems& problems);

/// Applies an RFC 7396 merge patch to the attributes under the same write rules.
[[nodiscard]] Json merged(const ClassRow& row, const Json& current, const Json& patch, Problems& problems);

/// Checks types and names only, for what the producer itself writes (tests, debug builds).
void check_types(const ClassRow& row, const Json& attributes, Problems& problems);

} // namespace muster::nrm
