/// Rows of a CSV text (RFC 4180), for predictions. Training data is read by muster-data.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace muster::worker {

/// A header and its rows; every row has as many cells as the header.
struct CsvRows {
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows;
};

/// Parses a text in UTF-8 with a header, quotes, CRLF or LF, and a byte order mark. Delimiter and decimal sign are
/// guessed (base/csv_dialect.h); numbers come with a decimal point, and cells without spaces around what is not quoted.
/// Errors: invalid_argument with "row N" for a ragged row or an open quote; an empty text.
[[nodiscard]] Result<CsvRows> parse_csv(std::string_view text);

} // namespace muster::worker
