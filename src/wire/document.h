/// YAML and JSON files as JSON values, with the place of every value for error messages.
#pragma once

#include "base/result.h"
#include "wire/fields.h"

#include <cstddef>
#include <filesystem>
#include <string>

namespace muster::wire {

/// A parsed file.
struct Document {
    Json value;
    Places places;
};

/// Parses YAML (and so JSON). Plain scalars become null, booleans or numbers as in YAML 1.2's core schema; quoted ones
/// stay texts. `name` is the file's name for error messages. At most `nodes_max` values, aliases expanded; nested at
/// most 32 deep. Errors: invalid_argument with "name:line:column", for bad syntax, duplicate keys, too many or too deep
/// values.
[[nodiscard]] Result<Document>
parse_document(const std::string& text, const std::string& name, std::size_t nodes_max = 100'000);

/// Reads and parses a file of at most 1 MiB. Errors: as parse_document; not_found; resource_exhausted.
[[nodiscard]] Result<Document> read_document(const std::filesystem::path& file);

/// Writes JSON as YAML for people. Texts that would change their type are quoted.
[[nodiscard]] std::string to_yaml(const Json& value);

} // namespace muster::wire
