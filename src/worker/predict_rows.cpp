#include "worker/predict_rows.h"

#include "base/cell.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace muster::worker {
namespace {

Result<std::vector<std::size_t>> columns_of(const std::vector<std::string>& names, const CsvRows& csv) {
    std::vector<std::size_t> columns;
    for (const std::string& name : names) {
        const auto found = std::ranges::find(csv.header, name);
        if (found == csv.header.end()) {
            Error error = not_allowed("header", name, csv.header);
            error.message = fmt::format("the model needs the column \"{}\"", name);
            return error;
        }
        columns.push_back(static_cast<std::size_t>(found - csv.header.begin()));
    }
    return columns;
}

/// As muster-data reads a cell of a training file; rows are counted as lines of the file, the header being row 1.
Result<double> number_of(const std::string& text, const std::string& column, std::size_t row) {
    const Cell cell = parse_cell(text);
    if (cell.kind == CellKind::missing) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    if (cell.kind != CellKind::number) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is no number", text),
                     fmt::format("row {}, column {}", row + 2, column)};
    }
    return cell.value;
}

} // namespace

Result<std::vector<std::vector<double>>> predict_rows(const ExportedModel& model, const CsvRows& csv) {
    auto numbers = columns_of(model.number_names(), csv);
    auto categories = columns_of(model.category_names(), csv);
    if (!numbers || !categories) {
        return !numbers ? std::move(numbers).error() : std::move(categories).error();
    }
    RawRows raw{.rows = static_cast<std::int64_t>(csv.rows.size()), .numbers = {}, .categories = {}};
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
        for (const std::size_t column : *numbers) {
            auto value = number_of(csv.rows[row][column], csv.header[column], row);
            if (!value) {
                return std::move(value).error();
            }
            raw.numbers.push_back(*value);
        }
        std::vector<std::string> words;
        for (const std::size_t column : *categories) {
            const std::string& cell = csv.rows[row][column];
            words.push_back(is_missing(cell) ? std::string{} : cell);
        }
        raw.categories.push_back(std::move(words));
    }
    if (csv.rows.empty()) {
        return std::vector<std::vector<double>>{};
    }
    auto flat = model.predict(raw);
    if (!flat) {
        return std::move(flat).error();
    }
    const std::size_t outputs = flat->size() / csv.rows.size();
    std::vector<std::vector<double>> predictions;
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
        const auto first = flat->begin() + static_cast<std::ptrdiff_t>(row * outputs);
        predictions.emplace_back(first, first + static_cast<std::ptrdiff_t>(outputs));
    }
    return predictions;
}

} // namespace muster::worker
