/// The schema, as numbered steps that only go forward: a step that was released is never changed.
#pragma once

#include <array>
#include <string_view>

namespace muster::store {

/// Step i brings a database from version i to i + 1 (PRAGMA user_version), in one transaction with the change of the
/// version itself.
inline constexpr std::array<std::string_view, 1> migrations{
    // 1: one table of versioned records; BINARY collation is the order of std::string.
    R"(CREATE TABLE record (
         kind    TEXT    NOT NULL,
         key     TEXT    NOT NULL,
         body    TEXT    NOT NULL,
         version INTEGER NOT NULL CHECK (version >= 1),
         PRIMARY KEY (kind, key)
       ) STRICT)",
};

} // namespace muster::store
