/// Predictions of an exported model for rows of text.
#pragma once

#include "base/result.h"
#include "worker/csv_rows.h"
#include "worker/exported_model.h"

#include <vector>

namespace muster::worker {

/// Finds the model's inputs by name, reads their cells (empty, NA, NaN, null: missing) and predicts.
/// Returns [rows][outputs]. A model of series reads the rows of each in the order of time; rows with fewer before them
/// than a window has get NaN. Errors: invalid_argument: a column that is not there (with the nearest), a text in a
/// number column (row and column named), a row without series or time, two rows of a series at one time.
[[nodiscard]] Result<std::vector<std::vector<double>>> predict_rows(const ExportedModel& model, const CsvRows& csv);

} // namespace muster::worker
