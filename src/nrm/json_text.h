/// JSON text from outside, parsed with limits and a place for each error.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string_view>

namespace muster::nrm {

/// Nesting that a request body, a subscription or a stored record ever needs, with room to spare.
inline constexpr std::size_t json_depth_max = 32;

/// Parses one JSON value (RFC 8259) that fills `text`. No exceptions, no recursion: depth is bounded by `depth_max`,
/// time and memory by the length of `text`, which the caller bounds.
/// Errors: invalid_argument with "line 3, column 5" in `where`: malformed text, text that is not UTF-8, a name twice in
/// one object, a number too large; resource_exhausted, when nested deeper than `depth_max` arrays and objects.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text, std::size_t depth_max = json_depth_max);

} // namespace muster::nrm
