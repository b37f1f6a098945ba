/// Reading single cells.
#include "base/cell.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <system_error>

namespace muster {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r";
    if (!text.empty() && !is_blank(text.front()) && !is_blank(text.back())) {
        return text; // nearly all cells
    }
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool stands_for_nothing(std::string_view text) {
    constexpr std::array<std::string_view, 8> words{"na", "n/a", "#n/a", "nan", "null", "none", "?", "-"};
    constexpr std::size_t longest = 4;
    if (text.empty()) {
        return true;
    }
    const bool number = (text.front() >= '0' && text.front() <= '9') || (text.front() == '-' && text.size() > 1);
    if (text.size() > longest || number) {
        return false;
    }
    return std::ranges::any_of(words, [&](std::string_view word) { return std::ranges::equal(text, word, {}, lower); });
}

/// Most numbers in tables are few digits with a point somewhere. Whole numbers below 2^53 and powers of ten up to 10^22
/// are exact as doubles, so that one division rounds once: the same double that from_chars would find, in a fraction of
/// its time (Clinger, "How to read floating point numbers accurately", 1990). Nothing for all others.
std::optional<double> simple_number(std::string_view text) {
    constexpr std::array<double, 23> powers{1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    constexpr std::size_t digits_max = 18; // fit an integer of 64 bits
    const bool negative = text.front() == '-';
    std::uint64_t whole = 0;
    std::size_t digits = 0;
    std::size_t decimals = 0;
    bool point = false;
    for (const char c : text.substr(negative ? 1 : 0)) {
        if (c >= '0' && c <= '9') {
            whole = whole * 10 + static_cast<std::uint64_t>(c - '0');
            ++digits;
            decimals += point ? 1 : 0;
        } else if (c == '.' && !point) {
            point = true;
        } else {
            return std::nullopt;
        }
        if (digits > digits_max) {
            return std::nullopt;
        }
    }
    if (digits == 0 || whole > (std::uint64_t{1} << 53U)) {
        return std::nullopt;
    }
    const double value = static_cast<double>(whole) / powers[decimals];
    return negative ? -value : value;
}

} // namespace

bool is_missing(std::string_view text) {
    return stands_for_nothing(trimmed(text));
}

Cell parse_cell(std::string_view text) {
    text = trimmed(text);
    if (stands_for_nothing(text)) {
        return {CellKind::missing};
    }
    // from_chars knows no leading plus; "+-1" must stay text.
    if (text.size() > 1 && text[0] == '+' && text[1] != '-') {
        text.remove_prefix(1);
    }
    if (const auto simple = simple_number(text)) {
        return {CellKind::number, *simple};
    }
    double value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
        return {CellKind::text};
    }
    if (error == std::errc::result_out_of_range) {
        // Too large or too small: only the former is a loss, and a tiny number is written with a negative exponent.
        const auto exponent = text.find_first_of("eE");
        const bool tiny = exponent == std::string_view::npos ? text.find('.') < 2 : text.substr(exponent + 1, 1) == "-";
        return tiny ? Cell{CellKind::number, 0.0} : Cell{CellKind::not_finite};
    }
    return std::isfinite(value) ? Cell{CellKind::number, value} : Cell{CellKind::not_finite};
}

} // namespace muster
