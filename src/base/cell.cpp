/// Reading single cells.
#include "base/cell.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

namespace muster {

namespace {

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r";
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
    if (text.size() > longest) {
        return false;
    }
    return std::ranges::any_of(words, [&](std::string_view word) { return std::ranges::equal(text, word, {}, lower); });
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
