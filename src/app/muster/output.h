/// What verbs print: data on stdout as a table, JSON or YAML; talk on stderr.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace muster::app {

enum class Format { table, json, yaml };

/// A table for people. Cells are printed left-aligned, columns as wide as needed.
struct Table {
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows;
};

/// Prints `data` as JSON or YAML, or `table` when the format is table.
void print(Format format, const nlohmann::json& data, const Table& table);
[[nodiscard]] std::string to_text(const Table& table);

/// One line to stderr, for people.
void say(std::string_view line);
/// Whether stderr is a terminal: only then are lines redrawn and coloured.
[[nodiscard]] bool on_terminal();

/// "12.3 s", "4 min 05 s"
[[nodiscard]] std::string duration_text(double seconds);
/// "1.2 MB"
[[nodiscard]] std::string bytes_text(double bytes);

} // namespace muster::app
