#include "base/csv_dialect.h"

#include "base/cell.h"

#include <algorithm>
#include <array>
#include <vector>

namespace muster {
namespace {

constexpr std::size_t records_max = 200; ///< looked at
constexpr std::size_t bytes_max = 1 << 16;

/// Calls `each(record, cell)` for the cells of up to `most` records that are not empty, quotation marks around them
/// left out; the cell is what was written otherwise. Returns the number of records that ended.
template <typename Each>
std::size_t for_cells(std::string_view text, char delimiter, std::size_t most, Each each) {
    std::size_t record = 0;
    std::size_t begin = 0;
    bool quoted = false;
    bool empty = true;
    const auto end_cell = [&](std::size_t end) {
        std::string_view cell = text.substr(begin, end - begin);
        if (cell.size() >= 2 && cell.front() == '"' && cell.back() == '"') {
            cell = cell.substr(1, cell.size() - 2);
        }
        each(record, cell);
    };
    for (std::size_t at = 0; at < text.size() && record < most; ++at) {
        const char c = text[at];
        if (c == '"' && (quoted || at == begin)) {
            quoted = !quoted; // a doubled one opens again
        } else if (!quoted && c == delimiter) {
            end_cell(at);
            begin = at + 1;
            empty = false;
        } else if (!quoted && c == '\n') {
            const std::size_t end = at > begin && text[at - 1] == '\r' ? at - 1 : at;
            if (!empty || end > begin) {
                end_cell(end);
                ++record;
            }
            begin = at + 1;
            empty = true;
        }
    }
    if (record < most && (begin < text.size() || !empty)) {
        end_cell(text.size());
    }
    return record;
}

/// Cells of each record; the last one is left out when it may go on.
std::vector<std::size_t> cell_counts(std::string_view text, char delimiter) {
    std::vector<std::size_t> counts;
    const std::size_t ended = for_cells(text, delimiter, records_max, [&](std::size_t record, std::string_view) {
        counts.resize(record + 1, 0);
        ++counts[record];
    });
    if (ended > 0) {
        counts.resize(std::min(counts.size(), ended));
    }
    return counts;
}

bool cuts_alike(const std::vector<std::size_t>& counts) {
    if (counts.empty() || counts.back() < 2) {
        return false;
    }
    const bool rows_alike =
        std::all_of(counts.begin() + 1, counts.end(), [&](std::size_t count) { return count == counts.back(); });
    return rows_alike && (counts.front() == counts.back() || counts.front() + 1 == counts.back());
}

char guess_delimiter(std::string_view text) {
    // Commas are also decimal signs and in texts: they count last.
    constexpr std::array<char, 4> candidates{';', '\t', '|', ','};
    char most = ',';
    std::size_t most_cells = 1;
    for (const char candidate : candidates) {
        const auto counts = cell_counts(text, candidate);
        if (cuts_alike(counts)) {
            return candidate;
        }
        if (!counts.empty() && counts.front() >= most_cells) {
            most = candidate;
            most_cells = counts.front();
        }
    }
    return most_cells > 1 ? most : ',';
}

char guess_decimal(std::string_view text, char delimiter) {
    if (delimiter == ',') {
        return '.';
    }
    bool commas = false;
    bool points = false;
    for_cells(text, delimiter, records_max, [&](std::size_t, std::string_view cell) {
        commas = commas || with_decimal_point(cell).has_value();
        points = points || (cell.find('.') != std::string_view::npos && parse_cell(cell).kind == CellKind::number);
    });
    return commas && !points ? ',' : '.';
}

} // namespace

CsvDialect guess_dialect(std::string_view beginning, std::optional<char> delimiter, std::optional<char> decimal) {
    const std::string_view text = beginning.substr(0, bytes_max);
    CsvDialect dialect;
    dialect.delimiter = delimiter ? *delimiter : guess_delimiter(text);
    dialect.decimal = decimal ? *decimal : guess_decimal(text, dialect.delimiter);
    return dialect;
}

std::size_t cells_of_first_record(std::string_view text, char delimiter) {
    std::size_t cells = 0;
    for_cells(text, delimiter, 1, [&](std::size_t, std::string_view) { ++cells; });
    return cells;
}

std::optional<std::string> with_decimal_point(std::string_view cell) {
    const auto comma = cell.find(',');
    if (comma == std::string_view::npos || cell.find('.') != std::string_view::npos) {
        return std::nullopt;
    }
    std::string number{cell};
    number[comma] = '.';
    return parse_cell(number).kind == CellKind::number ? std::optional{std::move(number)} : std::nullopt;
}

std::string_view trimmed(std::string_view cell) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    if (!cell.empty() && !is_blank(cell.front()) && !is_blank(cell.back())) {
        return cell; // nearly all cells
    }
    const auto first = cell.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view{}
                                           : cell.substr(first, cell.find_last_not_of(" \t") - first + 1);
}

} // namespace muster
