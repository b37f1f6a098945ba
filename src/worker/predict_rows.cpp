#include "worker/predict_rows.h"

#include "base/cell.h"
#include "base/time_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

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

/// A column of numbers or dates.
struct NumberColumn {
    std::size_t position{};
    bool date{};
};

/// As muster-data reads a cell of a training file; rows are counted as lines of the file, the header being row 1.
Result<double> number_of(const CsvRows& csv, std::size_t row, const NumberColumn& column) {
    const std::string& text = csv.rows[row][column.position];
    if (is_missing(text)) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const Cell cell = parse_cell(text);
    const auto value = column.date                     ? parse_time(text)
                       : cell.kind == CellKind::number ? std::optional{cell.value}
                                                       : std::nullopt;
    if (!value) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is no {}", text, column.date ? "date" : "number"),
                     fmt::format("row {}, column {}", row + 2, csv.header[column.position])};
    }
    return *value;
}

/// The column with this name, where there is one to find.
Result<std::optional<std::size_t>> column_of(const std::string& name, const CsvRows& csv) {
    if (name.empty()) {
        return std::optional<std::size_t>{};
    }
    const auto found = columns_of({name}, csv);
    return found ? Result<std::optional<std::size_t>>{found->front()} : found.error();
}

/// Positions of the rows of each series, in the order of time.
Result<std::vector<std::vector<std::size_t>>> series_of(const ModelWindows& windows, const CsvRows& csv) {
    const auto series_column = column_of(windows.series, csv);
    const auto time_column = column_of(windows.time, csv);
    if (!series_column || !time_column) {
        return !series_column ? series_column.error() : time_column.error();
    }
    std::map<std::string, std::map<double, std::size_t>> places;
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
        const auto refusal = [&](const std::string& what, const std::string& column) {
            return Error{ErrorCode::invalid_argument, what, fmt::format("row {}, column {}", row + 2, column)};
        };
        const std::string& name = *series_column ? csv.rows[row][**series_column] : windows.series;
        if (*series_column && is_missing(name)) {
            return refusal("no series is named", windows.series);
        }
        const auto time =
            *time_column ? parse_time(csv.rows[row][**time_column]) : std::optional{static_cast<double>(row)};
        if (!time) {
            return refusal(fmt::format("\"{}\" is no time", csv.rows[row][**time_column]), windows.time);
        }
        if (const auto [place, fresh] = places[name].emplace(*time, row); !fresh) {
            return refusal(fmt::format("the time is that of row {}", place->second + 2), windows.time);
        }
    }
    std::vector<std::vector<std::size_t>> all;
    for (const auto& [name, rows] : places) {
        all.emplace_back();
        for (const auto& [time, row] : rows) {
            all.back().push_back(row);
        }
    }
    return all;
}

/// Cells of some rows as a model takes them.
Result<RawRows> raw_rows(const std::vector<NumberColumn>& numbers,
                         const std::vector<std::size_t>& categories,
                         const std::vector<std::size_t>& rows,
                         const CsvRows& csv) {
    RawRows raw{.rows = std::ssize(rows), .numbers = {}, .categories = {}};
    for (const std::size_t row : rows) {
        for (const NumberColumn& column : numbers) {
            auto value = number_of(csv, row, column);
            if (!value) {
                return std::move(value).error();
            }
            raw.numbers.push_back(*value);
        }
        std::vector<std::string> words;
        for (const std::size_t column : categories) {
            const std::string& cell = csv.rows[row][column];
            words.push_back(is_missing(cell) ? std::string{} : cell);
        }
        raw.categories.push_back(std::move(words));
    }
    return raw;
}

} // namespace

Result<std::vector<std::vector<double>>> predict_rows(const ExportedModel& model, const CsvRows& csv) {
    const auto number_positions = columns_of(model.number_names(), csv);
    const auto categories = columns_of(model.category_names(), csv);
    if (!number_positions || !categories) {
        return !number_positions ? number_positions.error() : categories.error();
    }
    std::vector<NumberColumn> numbers;
    for (std::size_t i = 0; i < number_positions->size(); ++i) {
        const auto is_in = [&](const std::vector<std::string>& names) {
            return std::ranges::find(names, model.number_names()[i]) != names.end();
        };
        const bool date = is_in(model.date_names()) || is_in(model.time_names());
        numbers.push_back({(*number_positions)[i], date});
    }
    const ModelWindows& windows = model.windows();
    std::vector<std::vector<std::size_t>> series(1);
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
        series.front().push_back(row);
    }
    if (windows.length > 1) {
        auto found = series_of(windows, csv);
        if (!found) {
            return std::move(found).error();
        }
        series = std::move(*found);
    }
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    std::vector<std::vector<double>> predictions(csv.rows.size());
    std::size_t outputs = 1;
    for (const auto& rows : series) {
        auto raw = raw_rows(numbers, *categories, rows, csv);
        if (!raw) {
            return std::move(raw).error();
        }
        const auto before = static_cast<std::size_t>(windows.length) - 1;
        if (rows.size() <= before) {
            continue;
        }
        auto flat = model.predict(*raw);
        if (!flat) {
            return std::move(flat).error();
        }
        outputs = flat->size() / (rows.size() - before);
        for (std::size_t i = before; i < rows.size(); ++i) {
            const auto first = flat->begin() + static_cast<std::ptrdiff_t>((i - before) * outputs);
            predictions[rows[i]].assign(first, first + static_cast<std::ptrdiff_t>(outputs));
        }
    }
    for (std::vector<double>& row : predictions) {
        row.resize(outputs, none);
    }
    return predictions;
}

} // namespace muster::worker
