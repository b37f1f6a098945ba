#include "base/time_text.h"

#include "base/cell.h"

#include <chrono>

namespace muster {
namespace {

/// Takes text from the front.
class Reader {
public:
    explicit Reader(std::string_view text) : text_{text} {}

    [[nodiscard]] bool done() const { return text_.empty(); }
    [[nodiscard]] bool next_is(std::string_view any_of) const {
        return !text_.empty() && any_of.find(text_.front()) != std::string_view::npos;
    }
    char take() {
        const char first = text_.front();
        text_.remove_prefix(1);
        return first;
    }
    bool take(char wanted) {
        const bool there = !text_.empty() && text_.front() == wanted;
        text_.remove_prefix(there ? 1 : 0);
        return there;
    }
    /// Exactly so many digits, of a number up to `most`.
    std::optional<int> number(int digits, int most) {
        int value = 0;
        for (int i = 0; i < digits; ++i) {
            if (!next_is("0123456789")) {
                return std::nullopt;
            }
            value = 10 * value + (take() - '0');
        }
        return value <= most ? std::optional{value} : std::nullopt;
    }
    /// What is behind a decimal point: any number of digits.
    double fraction() {
        double value = 0.0;
        double place = 0.1;
        for (; next_is("0123456789"); place /= 10.0) {
            value += place * (take() - '0');
        }
        return value;
    }

private:
    std::string_view text_;
};

constexpr double minute = 60.0;
constexpr double hour = 3600.0;
constexpr double day = 86'400.0;

std::optional<double> read_date(Reader& reader) {
    const auto year = reader.number(4, 9999);
    const bool dashed = reader.take('-');
    const auto month = reader.number(2, 12);
    const bool second_dash = reader.take('-');
    const auto number = reader.number(2, 31);
    if (!year || !dashed || !month || !second_dash || !number) {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year{*year},
                                           std::chrono::month{static_cast<unsigned>(*month)},
                                           std::chrono::day{static_cast<unsigned>(*number)}};
    if (!date.ok()) {
        return std::nullopt;
    }
    return day * static_cast<double>(std::chrono::sys_days{date}.time_since_epoch().count());
}

/// Hours, minutes and maybe seconds.
std::optional<double> read_clock(Reader& reader) {
    const auto hours = reader.number(2, 24);
    const bool colon = reader.take(':');
    const auto minutes = reader.number(2, 59);
    if (!hours || !colon || !minutes) {
        return std::nullopt;
    }
    double seconds = hour * *hours + minute * *minutes;
    if (reader.take(':')) {
        const auto whole = reader.number(2, 60); // 60: a leap second
        if (!whole) {
            return std::nullopt;
        }
        seconds += *whole + (reader.take('.') ? reader.fraction() : 0.0);
    }
    return seconds <= day ? std::optional{seconds} : std::nullopt;
}

/// Seconds that the zone is before UTC.
std::optional<double> read_zone(Reader& reader) {
    if (reader.done() || reader.take('Z')) {
        return 0.0;
    }
    if (!reader.next_is("+-")) {
        return std::nullopt;
    }
    const double sign = reader.take() == '+' ? 1.0 : -1.0;
    const auto hours = reader.number(2, 14);
    reader.take(':');
    const auto minutes = reader.done() ? std::optional{0} : reader.number(2, 59);
    if (!hours || !minutes) {
        return std::nullopt;
    }
    return sign * (hour * *hours + minute * *minutes);
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(' ');
    return first == std::string_view::npos ? std::string_view{}
                                           : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

} // namespace

std::optional<double> parse_time(std::string_view text) {
    if (const Cell cell = parse_cell(text); cell.kind != CellKind::text) {
        return cell.kind == CellKind::number ? std::optional{cell.value} : std::nullopt;
    }
    Reader reader{trimmed(text)};
    auto seconds = read_date(reader);
    if (!seconds || reader.done()) {
        return seconds;
    }
    if (!reader.next_is("T t")) {
        return std::nullopt;
    }
    reader.take();
    const auto clock = read_clock(reader);
    const auto zone = clock ? read_zone(reader) : std::nullopt;
    return zone && reader.done() ? std::optional{*seconds + *clock - *zone} : std::nullopt;
}

} // namespace muster
