/// Checks one value against its row. Internal to nrm; validate.h is for others.
#pragma once

#include "nrm/class_table.h"
#include "nrm/validate.h"

#include <string>
#include <string_view>

namespace muster::nrm {

/// Whether absent members of structures are filled in and asked for (what a consumer writes), or left (what the
/// producer itself writes).
enum class Completeness { complete, as_given };

/// Adds a problem unless there are problems_max already.
void add_problem(Problems& problems, Error error);

/// Returns `text` as it may stand in a message: at most 64 bytes of it, cut between characters.
[[nodiscard]] std::string shortened(std::string_view text);

/// Returns `where` + "/" + `name`, escaped as RFC 6901 says.
[[nodiscard]] std::string pointer(const std::string& where, std::string_view name);

/// Returns `value` as it will be kept (integers as integers, defaults of members put in) and lists what is wrong with
/// it. `where` is its JSON pointer.
[[nodiscard]] Json checked_value(
    const Attribute& row, const Json& value, const std::string& where, Completeness completeness, Problems& problems);

/// Returns the row's default, or null when it has none.
[[nodiscard]] Json default_of(const Attribute& row);

/// Lists the names in `value` that `rows` do not have, each with the nearest that they do.
void check_names(std::span<const Attribute> rows,
                 const Json& value,
                 const std::string& where,
                 std::string_view owner,
                 Problems& problems);

/// Says whether `text` is a date-time of RFC 3339 5.6.
[[nodiscard]] bool is_date_time(std::string_view text);

} // namespace muster::nrm
