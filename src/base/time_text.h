/// Times as tables write them.
#pragma once

#include <optional>
#include <string_view>

namespace muster {

/// Reads a time: a number, as it is, or a date of ISO 8601, "2026-01-31", "2026-01-31T09:15", "2026-01-31 09:15:30.25",
/// with "Z" or an offset such as "+01:00" behind it, as seconds since 1970 (UTC where it names no other zone). Spaces
/// around it are allowed. Nothing where the text is neither, or no such day or hour exists.
[[nodiscard]] std::optional<double> parse_time(std::string_view text);

} // namespace muster
