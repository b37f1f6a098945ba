#include "app/muster/output.h"

#include "app/muster/exit_code.h"
#include "wire/document.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace muster::app {

int report(const Error& error) {
    say("error: " + error.text());
    switch (error.code) {
    case ErrorCode::unauthenticated:
    case ErrorCode::permission_denied:
    case ErrorCode::unavailable:
    case ErrorCode::resource_exhausted:
        return exit_not_allowed;
    case ErrorCode::deadline_exceeded:
        return exit_timeout;
    case ErrorCode::invalid_argument:
    case ErrorCode::not_found:
    case ErrorCode::conflict:
        return exit_wrong_input;
    }
    return exit_wrong_input;
}

std::string to_text(const Table& table) {
    std::vector<std::size_t> widths;
    const auto measure = [&](const std::vector<std::string>& row) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], row[i].size());
        }
    };
    measure(table.header);
    std::ranges::for_each(table.rows, measure);
    std::string text;
    const auto add = [&](const std::vector<std::string>& row) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += fmt::format(" {:<{}}  ", row[i], widths[i]);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    };
    if (!table.header.empty()) {
        add(table.header);
    }
    std::ranges::for_each(table.rows, add);
    return text;
}

void print(Format format, const nlohmann::json& data, const Table& table) {
    const std::string text = format == Format::json   ? data.dump(2) + "\n"
                             : format == Format::yaml ? wire::to_yaml(data)
                                                      : to_text(table);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

void say(std::string_view line) {
    fmt::print(stderr, "{}\n", line);
}

bool on_terminal() {
    return ::isatty(STDERR_FILENO) == 1;
}

std::string duration_text(double seconds) {
    if (seconds < 60.0) {
        return fmt::format("{:.1f} s", seconds);
    }
    const auto whole = std::lround(seconds);
    return whole < 3600 ? fmt::format("{} min {:02} s", whole / 60, whole % 60)
                        : fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string bytes_text(double bytes) {
    for (const char* unit : {"B", "kB", "MB", "GB"}) {
        if (bytes < 1000.0) {
            return fmt::format("{:.{}f} {}", bytes, unit[0] == 'B' || bytes >= 100.0 ? 0 : 1, unit);
        }
        bytes /= 1000.0;
    }
    return fmt::format("{:.1f} TB", bytes);
}

} // namespace muster::app
