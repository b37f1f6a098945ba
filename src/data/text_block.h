/// TextBlock: rows of a source on their way from a file to what learns from them or encodes them.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

/// The cells of one column in one block, unquoted and without spaces around what was not quoted; numbers have a decimal
/// point. Valid during the call that passes them.
using TextColumn = std::vector<std::string_view>;

/// Some consecutive rows of the columns that were asked for, in that order.
struct TextBlock {
    std::int64_t first_row{}; ///< number of its first row, for place_in(); the row below a header is row 2, as in a
                              ///< spreadsheet
    std::int64_t rows{};
    std::vector<TextColumn> columns;
    std::deque<std::string> rewritten{}; ///< what some of the cells point to
};

/// Takes blocks until it refuses.
using TakeBlock = std::function<Result<void>(const TextBlock&)>;

} // namespace muster::data
