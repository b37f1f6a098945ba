/// Values of Arrow's typed columns as the text of cells.
#pragma once

#include "base/result.h"

#include <arrow/array.h>

#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

/// Says whether columns of this type can be cells: numbers, truths, text, dates, times, decimals, null, and
/// dictionaries of these.
[[nodiscard]] bool is_cell_type(const arrow::DataType& type);

/// Returns the cells of a column of such a type, whose data has been validated; they point into `texts` or into the
/// column. null and NaN are empty: missing. Errors: resource_exhausted over `bytes_max`.
[[nodiscard]] Result<std::vector<std::string_view>>
cells_of(const arrow::Array& column, std::string& texts, std::int64_t bytes_max);

} // namespace muster::data
