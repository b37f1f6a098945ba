/// Predictions of an exported model for rows of text.
#pragma once

#include "base/result.h"
#include "worker/csv_rows.h"
#include "worker/exported_model.h"

#include <vector>

namespace muster::worker {

/// Finds the model's inputs by name, reads their cells (empty, NA, NaN, null: missing) and predicts.
/// Returns [rows][outputs]. Errors: invalid_argument: a column that is not there (with the nearest), a text in a number
/// column (row and column named).
[[nodiscard]] Result<std::vector<std::vector<double>>> predict_rows(const ExportedModel& model, const CsvRows& csv);

} // namespace muster::worker
