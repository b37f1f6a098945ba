/// How errors name a place in a source and show what stands there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::data {

/// Says where in a source something is: "train.csv: row 17, column sinr_db"; row 0: the whole column.
[[nodiscard]] std::string place_in(const std::string& source, std::int64_t row, const std::string& column);
/// Puts a cell's text between quotation marks, shortened when it is long.
[[nodiscard]] std::string excerpt(std::string_view text);

} // namespace muster::data
