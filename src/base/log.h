/// One line for each event: time, level, event, key=value. Floors 0 to 2 do not log, they return.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace muster::log {

enum class Level { debug, info, warning, error };

/// Sets the lowest level that is written; the default is info. Safe from any thread.
void set_level(Level level);

/// Writes one line to stderr: `2026-11-22T10:58:03.120Z info <event>`. Safe from any thread.
void write(Level level, std::string_view event);

/// Formats `key=value`, quoting a value that holds spaces, quotes or control characters.
[[nodiscard]] std::string field(std::string_view key, std::string_view value);

/// log::info("lease granted job={} seconds={}", job, 30)
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
/// A warning names what a person should do.
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

} // namespace muster::log
