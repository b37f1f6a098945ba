#include "base/result.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace muster {
namespace {

/// Levenshtein distance, ignoring ASCII case: a wrong case is the commonest slip.
std::size_t edit_distance(const std::string& left, const std::string& right) {
    std::vector<std::size_t> row(right.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) {
        row[j] = j;
    }
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    for (std::size_t i = 1; i <= left.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const std::size_t replaced = diagonal + (lower(left[i - 1]) == lower(right[j - 1]) ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row.back();
}

} // namespace

const char* name_of(ErrorCode code) noexcept {
    switch (code) {
    case ErrorCode::invalid_argument:
        return "invalid_argument";
    case ErrorCode::unauthenticated:
        return "unauthenticated";
    case ErrorCode::permission_denied:
        return "permission_denied";
    case ErrorCode::not_found:
        return "not_found";
    case ErrorCode::conflict:
        return "conflict";
    case ErrorCode::resource_exhausted:
        return "resource_exhausted";
    case ErrorCode::unavailable:
        return "unavailable";
    case ErrorCode::deadline_exceeded:
        return "deadline_exceeded";
    }
    return "unknown";
}

Error Error::within(const std::string& context) && {
    message = context + ": " + message;
    return std::move(*this);
}

std::string Error::text() const {
    std::string line = where.empty() ? message : fmt::format("{}: {}", where, message);
    if (!allowed.empty()) {
        line += fmt::format(" (allowed: {})", fmt::join(allowed, ", "));
    }
    if (!nearest.empty()) {
        line += fmt::format("; did you mean \"{}\"?", nearest);
    }
    return line;
}

std::string nearest_of(const std::string& given, const std::vector<std::string>& allowed) {
    std::string best;
    std::size_t best_distance = given.size() / 3 + 2;
    for (const std::string& candidate : allowed) {
        const std::size_t distance = edit_distance(given, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

Error not_allowed(const std::string& where, const std::string& given, std::vector<std::string> allowed) {
    std::string nearest = nearest_of(given, allowed);
    return {.code = ErrorCode::invalid_argument,
            .message = fmt::format("\"{}\" is not allowed here", given),
            .where = where,
            .allowed = std::move(allowed),
            .nearest = std::move(nearest)};
}

} // namespace muster
