#include "worker/csv_rows.h"

#include "base/csv_dialect.h"

#include <fmt/format.h>

namespace muster::worker {
namespace {

/// Reads one record from `text` at `at`. False when a quote is never closed.
bool read_record(std::string_view text, char delimiter, std::size_t& at, std::vector<std::string>& cells) {
    std::string cell;
    bool quoted = false;
    bool was_quoted = false; // spaces within quotation marks count
    const auto end_cell = [&] {
        cells.push_back(was_quoted ? std::move(cell) : std::string{trimmed(cell)});
        cell.clear();
        was_quoted = false;
    };
    for (; at < text.size(); ++at) {
        const char c = text[at];
        if (quoted) {
            if (c != '"') {
                cell += c;
            } else if (at + 1 < text.size() && text[at + 1] == '"') {
                cell += '"';
                ++at;
            } else {
                quoted = false;
            }
        } else if (c == '"' && trimmed(cell).empty()) {
            cell.clear();
            quoted = true;
            was_quoted = true;
        } else if (c == delimiter) {
            end_cell();
        } else if (c == '\n') {
            ++at;
            break;
        } else if (c != '\r') {
            cell += c;
        }
    }
    end_cell();
    return !quoted;
}

void use_points(std::vector<std::string>& cells) {
    for (std::string& cell : cells) {
        if (auto number = with_decimal_point(cell)) {
            cell = *std::move(number);
        }
    }
}

} // namespace

Result<CsvRows> parse_csv(std::string_view text) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) {
        text.remove_prefix(byte_order_mark.size());
    }
    const CsvDialect dialect = guess_dialect(text);
    CsvRows csv;
    std::size_t row = 0;
    for (std::size_t at = 0; at < text.size(); ++row) {
        std::vector<std::string> cells;
        if (!read_record(text, dialect.delimiter, at, cells)) {
            return Error{
                ErrorCode::invalid_argument, "a quote is opened and never closed", fmt::format("row {}", row + 1)};
        }
        if (cells.size() == 1 && cells[0].empty()) {
            continue; // an empty line
        }
        if (csv.header.empty()) {
            csv.header = std::move(cells);
            continue;
        }
        if (cells.size() != csv.header.size()) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("{} cells, the header has {}", cells.size(), csv.header.size()),
                         fmt::format("row {}", row + 1)};
        }
        if (dialect.decimal == ',') {
            use_points(cells);
        }
        csv.rows.push_back(std::move(cells));
    }
    if (csv.header.empty()) {
        return Error{ErrorCode::invalid_argument, "the file is empty; a header is expected"};
    }
    return csv;
}

} // namespace muster::worker
