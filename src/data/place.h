/// How errors name a place in a source and show what stands there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::data {

/// The number of a row of a file of a folder, for place_in(): the row's number in the file with the file's place in
/// source_files() above it.
[[nodiscard]] std::int64_t row_of_file(std::size_t file, std::int64_t row);
/// Says where in a source something is: "train.csv: row 17, column sinr_db"; row 0: the whole column. Of a folder it
/// names the file.
[[nodiscard]] std::string place_in(const std::string& source, std::int64_t row, const std::string& column);
/// Names a row: "row 17", of a folder "train-2.csv: row 17".
[[nodiscard]] std::string row_in(const std::string& source, std::int64_t row);
/// Puts a cell's text between quotation marks, shortened when it is long.
[[nodiscard]] std::string excerpt(std::string_view text);

} // namespace muster::data
