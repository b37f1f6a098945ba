#include "base/log.h"

#include "base/clock.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace muster::log {
namespace {

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = spdlog::stderr_logger_mt("muster");
        made->set_pattern("%v");
        made->set_level(spdlog::level::info);
        made->flush_on(spdlog::level::debug);
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum level_of(Level level) {
    switch (level) {
    case Level::debug:
        return spdlog::level::debug;
    case Level::info:
        return spdlog::level::info;
    case Level::warning:
        return spdlog::level::warn;
    case Level::error:
        return spdlog::level::err;
    }
    return spdlog::level::info;
}

std::string_view name_of(Level level) {
    switch (level) {
    case Level::debug:
        return "debug";
    case Level::info:
        return "info";
    case Level::warning:
        return "warning";
    case Level::error:
        return "error";
    }
    return "info";
}

} // namespace

void set_level(Level level) {
    logger().set_level(level_of(level));
}

void write(Level level, std::string_view event) {
    if (logger().should_log(level_of(level))) {
        logger().log(level_of(level), "{} {} {}", rfc3339(std::chrono::system_clock::now()), name_of(level), event);
    }
}

std::string field(std::string_view key, std::string_view value) {
    std::string text{key};
    text += '=';
    const bool plain = !value.empty() && value.find_first_of(" \"\\\n\r\t=") == std::string_view::npos;
    if (plain) {
        text += value;
        return text;
    }
    text += '"';
    for (const char c : value) {
        if (c == '"' || c == '\\') {
            text += '\\';
        }
        text += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
    }
    text += '"';
    return text;
}

} // namespace muster::log
