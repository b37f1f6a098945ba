#include "nrm/value_check.h"

#include "nrm/dn.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace muster::nrm {
namespace {

/// Doubles up to here hold integers exactly.
constexpr double exact_integer_max = 9'007'199'254'740'992.0;

std::string shown(const Json& value) {
    constexpr std::size_t shown_max = 40;
    if (value.is_structured() || value.is_null()) {
        return value.type_name();
    }
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > shown_max) {
        text = text.substr(0, shown_max) + "...";
    }
    return fmt::format("{} {}", value.type_name(), text);
}

Error expected(const std::string& what, const Json& value, const std::string& where) {
    return Error{ErrorCode::invalid_argument, fmt::format("expected {}, got {}", what, shown(value)), where};
}

std::optional<std::int64_t> exact_integer(const Json& value) {
    if (value.is_number_unsigned()) {
        const auto number = value.get<std::uint64_t>();
        constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        return number <= most ? std::optional{static_cast<std::int64_t>(number)} : std::nullopt;
    }
    if (value.is_number_integer()) {
        return value.get<std::int64_t>();
    }
    // JSON has one kind of number: 20.0 is the integer 20.
    if (value.is_number_float()) {
        const double number = value.get<double>();
        if (std::abs(number) <= exact_integer_max && std::trunc(number) == number) {
            return static_cast<std::int64_t>(number);
        }
    }
    return std::nullopt;
}

void check_range(const Attribute& row, double number, const std::string& where, Problems& problems) {
    const bool low = row.minimum && number < *row.minimum;
    const bool high = row.maximum && number > *row.maximum;
    if (!low && !high) {
        return;
    }
    const std::string range = row.minimum && row.maximum ? fmt::format("{} to {}", *row.minimum, *row.maximum)
                              : row.minimum              ? fmt::format("{} or more", *row.minimum)
                                                         : fmt::format("{} or less", *row.maximum);
    add_problem(problems, Error{ErrorCode::invalid_argument, fmt::format("expected {}, got {}", range, number), where});
}

Json checked_number(const Attribute& row, const Json& value, const std::string& where, Problems& problems) {
    if (row.type == AttributeType::integer) {
        const auto number = exact_integer(value);
        if (!number) {
            add_problem(problems, expected("integer", value, where));
            return value;
        }
        check_range(row, static_cast<double>(*number), where, problems);
        return *number;
    }
    if (!value.is_number()) {
        add_problem(problems, expected("number", value, where));
        return value;
    }
    check_range(row, value.get<double>(), where, problems);
    return value;
}

void check_text(const Attribute& row, const Json& value, const std::string& where, Problems& problems) {
    if (!value.is_string()) {
        add_problem(problems, expected(std::string{name_of(row.type)}, value, where));
        return;
    }
    const auto& text = value.get_ref<const std::string&>();
    if (row.type == AttributeType::enumeration) {
        if (std::ranges::find(row.values, text) == row.values.end()) {
            add_problem(problems, not_allowed(where, shortened(text), {row.values.begin(), row.values.end()}));
        }
    } else if (row.type == AttributeType::dn) {
        if (auto dn = Dn::parse(text); !dn) {
            Error error = std::move(dn).error();
            error.where = where;
            add_problem(problems, std::move(error));
        }
    } else if (row.type == AttributeType::date_time && !is_date_time(text)) {
        add_problem(problems, expected("date-time such as 2026-11-22T10:58:03Z", value, where));
    } else if (row.lower >= 1 && text.empty()) {
        add_problem(problems, Error{ErrorCode::invalid_argument, "must not be empty", where});
    }
}

Json checked_structure(
    const Attribute& row, const Json& value, const std::string& where, Completeness completeness, Problems& problems) {
    if (!value.is_object()) {
        add_problem(problems, expected("object", value, where));
        return value;
    }
    check_names(row.members, value, where, row.name, problems);
    Json kept = Json::object();
    for (const Attribute& member : row.members) {
        const std::string name{member.name};
        if (const auto found = value.find(name); found != value.end()) {
            kept[name] = checked_value(member, *found, pointer(where, name), completeness, problems);
        } else if (completeness == Completeness::complete) {
            if (Json put_in = default_of(member); !put_in.is_null()) {
                kept[name] = std::move(put_in);
            } else if (member.lower >= 1) {
                add_problem(problems,
                            Error{ErrorCode::invalid_argument,
                                  fmt::format("{} needs {}", row.name, name),
                                  pointer(where, name)});
            }
        }
    }
    return kept;
}

Json checked_single(
    const Attribute& row, const Json& value, const std::string& where, Completeness completeness, Problems& problems) {
    switch (row.type) {
    case AttributeType::string:
    case AttributeType::dn:
    case AttributeType::date_time:
    case AttributeType::enumeration:
        check_text(row, value, where, problems);
        return value;
    case AttributeType::integer:
    case AttributeType::real:
        return checked_number(row, value, where, problems);
    case AttributeType::boolean:
        if (!value.is_boolean()) {
            add_problem(problems, expected("boolean", value, where));
        }
        return value;
    case AttributeType::structure:
        return checked_structure(row, value, where, completeness, problems);
    case AttributeType::map:
        if (!value.is_object() || value.empty()) {
            add_problem(problems, expected("object with at least one member", value, where));
        }
        return value;
    case AttributeType::any:
        return value;
    }
    return value;
}

void check_unique(const Json& list, const std::string& where, Problems& problems) {
    std::vector<std::size_t> order(list.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::ranges::stable_sort(order, [&list](std::size_t a, std::size_t b) { return list[a] < list[b]; });
    for (std::size_t i = 1; i < order.size(); ++i) {
        if (list[order[i - 1]] == list[order[i]]) {
            add_problem(problems,
                        Error{ErrorCode::invalid_argument,
                              fmt::format("the same as item {}; each item may be there once", order[i - 1]),
                              pointer(where, std::to_string(order[i]))});
        }
    }
}

Json checked_list(
    const Attribute& row, const Json& value, const std::string& where, Completeness completeness, Problems& problems) {
    if (!value.is_array()) {
        add_problem(problems, expected(fmt::format("array of {}", name_of(row.type)), value, where));
        return value;
    }
    const std::size_t fewest = std::max<std::size_t>(row.items_min, row.lower >= 1 ? 1 : 0);
    const std::size_t most = row.items_max > 0 ? row.items_max : list_items_max;
    if (value.size() < fewest || value.size() > most) {
        add_problem(problems,
                    Error{ErrorCode::invalid_argument,
                          fmt::format("expected {} to {} items, got {}", fewest, most, value.size()),
                          where});
        return value;
    }
    Json kept = Json::array();
    for (std::size_t i = 0; i < value.size(); ++i) {
        kept.push_back(checked_single(row, value[i], pointer(where, std::to_string(i)), completeness, problems));
    }
    if (row.unique) {
        check_unique(kept, where, problems);
    }
    return kept;
}

std::optional<int> digits(std::string_view text, std::size_t begin, std::size_t count) {
    int number = 0;
    for (std::size_t i = begin; i < begin + count; ++i) {
        if (i >= text.size() || text[i] < '0' || text[i] > '9') {
            return std::nullopt;
        }
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

bool is_date(std::string_view text) {
    const auto year = digits(text, 0, 4);
    const auto month = digits(text, 5, 2);
    const auto day = digits(text, 8, 2);
    if (!year || !month || !day || text[4] != '-' || text[7] != '-' || *month < 1 || *month > 12) {
        return false;
    }
    constexpr std::array days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = *year % 4 == 0 && (*year % 100 != 0 || *year % 400 == 0);
    const int last = days[static_cast<std::size_t>(*month - 1)] + (*month == 2 && leap ? 1 : 0);
    return *day >= 1 && *day <= last;
}

bool is_hour_and_minute(std::string_view text) {
    const auto hour = digits(text, 0, 2);
    const auto minute = digits(text, 3, 2);
    return hour && minute && text[2] == ':' && *hour <= 23 && *minute <= 59;
}

} // namespace

void add_problem(Problems& problems, Error error) {
    if (problems.size() < problems_max) {
        problems.push_back(std::move(error));
    }
}

std::string shortened(std::string_view text) {
    constexpr std::size_t bytes_max = 64;
    if (text.size() <= bytes_max) {
        return std::string{text};
    }
    std::size_t end = bytes_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return std::string{text.substr(0, end)} + "...";
}

std::string pointer(const std::string& where, std::string_view name) {
    std::string path = where + "/";
    for (const char c : name) {
        path += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return path;
}

Json default_of(const Attribute& row) {
    return row.default_json.empty() ? Json{} : Json::parse(row.default_json);
}

void check_names(std::span<const Attribute> rows,
                 const Json& value,
                 const std::string& where,
                 std::string_view owner,
                 Problems& problems) {
    for (const auto& [name, unused] : value.items()) {
        if (std::ranges::find(rows, name, &Attribute::name) != rows.end()) {
            continue;
        }
        std::vector<std::string> names;
        for (const Attribute& row : rows) {
            names.emplace_back(row.name);
        }
        const std::string given = shortened(name);
        Error error = not_allowed(pointer(where, given), given, std::move(names));
        error.message = fmt::format("{} has no attribute \"{}\"", owner, given);
        add_problem(problems, std::move(error));
    }
}

Json checked_value(
    const Attribute& row, const Json& value, const std::string& where, Completeness completeness, Problems& problems) {
    return row.list ? checked_list(row, value, where, completeness, problems)
                    : checked_single(row, value, where, completeness, problems);
}

bool is_date_time(std::string_view text) {
    // 2026-11-22T10:58:03.120+01:00
    constexpr std::size_t seconds_end = 19;
    if (text.size() <= seconds_end || !is_date(text) || (text[10] != 'T' && text[10] != 't') ||
        !is_hour_and_minute(text.substr(11)) || text[16] != ':') {
        return false;
    }
    const auto second = digits(text, 17, 2);
    if (!second || *second > 60) {
        return false;
    }
    std::string_view rest = text.substr(seconds_end);
    if (rest.front() == '.') {
        const std::size_t fraction_end = rest.find_first_not_of("0123456789", 1);
        if (fraction_end == std::string_view::npos || fraction_end == 1) {
            return false;
        }
        rest.remove_prefix(fraction_end);
    }
    if (rest == "Z" || rest == "z") {
        return true;
    }
    return rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && is_hour_and_minute(rest.substr(1));
}

} // namespace muster::nrm
