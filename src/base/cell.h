/// One cell of a text table: missing, a number, or text.
#pragma once

#include <string_view>

namespace muster {

enum class CellKind {
    missing,
    number,
    not_finite, ///< written as a number, but infinite or beyond a double
    text,
};

struct Cell {
    CellKind kind{CellKind::missing};
    double value{}; ///< of a number, finite
};

/// Says whether a cell stands for "no value": empty, or one of NA, N/A, #N/A, NaN, null, none, ? and -, in any case
/// and with spaces around.
[[nodiscard]] bool is_missing(std::string_view text);

/// Reads a cell: decimal point, optional sign and exponent, spaces around it are allowed.
[[nodiscard]] Cell parse_cell(std::string_view text);

} // namespace muster
