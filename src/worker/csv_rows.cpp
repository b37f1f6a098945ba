#include "worker/csv_rows.h"

#include <fmt/format.h>

namespace muster::worker {
namespace {

/// Reads one record from `text` at `at`. False when a quote is never closed.
bool read_record(std::string_view text, std::size_t& at, std::vector<std::string>& cells) {
    std::string cell;
    bool quoted = false;
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
        } else if (c == '"' && cell.empty()) {
            quoted = true;
        } else if (c == ',') {
            cells.push_back(std::move(cell));
            cell.clear();
        } else if (c == '\n') {
            ++at;
            break;
        } else if (c != '\r') {
            cell += c;
        }
    }
    cells.push_back(std::move(cell));
    return !quoted;
}

} // namespace

Result<CsvRows> parse_csv(std::string_view text) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) {
        text.remove_prefix(byte_order_mark.size());
    }
    CsvRows csv;
    std::size_t row = 0;
    for (std::size_t at = 0; at < text.size(); ++row) {
        std::vector<std::string> cells;
        if (!read_record(text, at, cells)) {
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
        csv.rows.push_back(std::move(cells));
    }
    if (csv.header.empty()) {
        return Error{ErrorCode::invalid_argument, "the file is empty; a header is expected"};
    }
    return csv;
}

} // namespace muster::worker
