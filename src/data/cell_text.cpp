#include "data/cell_text.h"

#include <arrow/array/array_decimal.h>
#include <arrow/array/array_dict.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace muster::data {
namespace {

/// Collects texts in one string; cells are cut from it when it no longer moves.
class TextCells {
public:
    TextCells(std::string& texts, std::int64_t rows, std::int64_t bytes_max) : texts_{texts}, bytes_max_{bytes_max} {
        ends_.reserve(static_cast<std::size_t>(rows));
    }
    void add(std::string_view text) {
        if (fits()) {
            texts_ += text;
        }
        ends_.push_back(texts_.size());
    }
    template <typename Number>
    void add_number(Number number) {
        char digits[32];
        const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
        add({std::begin(digits), static_cast<std::size_t>(end - std::begin(digits))});
    }
    [[nodiscard]] bool fits() const { return static_cast<std::int64_t>(texts_.size()) <= bytes_max_; }
    [[nodiscard]] std::vector<std::string_view> cells() const {
        std::vector<std::string_view> cells;
        cells.reserve(ends_.size());
        std::size_t begin = 0;
        for (const std::size_t end : ends_) {
            cells.push_back(std::string_view{texts_}.substr(begin, end - begin));
            begin = end;
        }
        return cells;
    }

private:
    std::string& texts_;
    std::int64_t bytes_max_;
    std::vector<std::size_t> ends_;
};

std::string date_text(std::int64_t days) {
    const std::chrono::year_month_day day{std::chrono::sys_days{std::chrono::days{days}}};
    return fmt::format("{:04}-{:02}-{:02}",
                       static_cast<int>(day.year()),
                       static_cast<unsigned>(day.month()),
                       static_cast<unsigned>(day.day()));
}

std::int64_t ticks_of_second(arrow::TimeUnit::type unit) {
    switch (unit) {
    case arrow::TimeUnit::SECOND:
        return 1;
    case arrow::TimeUnit::MILLI:
        return 1'000;
    case arrow::TimeUnit::MICRO:
        return 1'000'000;
    case arrow::TimeUnit::NANO:
        break;
    }
    return 1'000'000'000;
}

/// 2026-01-31T09:15:30.25, with as many digits after the point as there is something to say.
std::string timestamp_text(std::int64_t ticks, const arrow::TimestampType& type) {
    constexpr std::int64_t seconds_of_day = 86'400;
    const std::int64_t each = ticks_of_second(type.unit());
    const std::int64_t seconds = ticks / each - (ticks % each < 0 ? 1 : 0);
    const std::int64_t rest = ticks - seconds * each;
    const std::int64_t days = seconds / seconds_of_day - (seconds % seconds_of_day < 0 ? 1 : 0);
    const std::int64_t time = seconds - days * seconds_of_day;
    std::string text = fmt::format("{}T{:02}:{:02}:{:02}", date_text(days), time / 3600, time / 60 % 60, time % 60);
    if (rest != 0) {
        std::string fraction = std::to_string(each + rest).substr(1);
        fraction.erase(fraction.find_last_not_of('0') + 1);
        text += "." + fraction;
    }
    return type.timezone().empty() ? text : text + "Z";
}

template <typename Array>
void add_numbers(const arrow::Array& column, TextCells& cells) {
    const auto& typed = static_cast<const Array&>(column);
    for (std::int64_t row = 0; row < typed.length(); ++row) {
        if (typed.IsNull(row)) {
            cells.add({});
        } else {
            cells.add_number(typed.Value(row));
        }
    }
}

template <typename Array>
void add_reals(const arrow::Array& column, TextCells& cells) {
    const auto& typed = static_cast<const Array&>(column);
    for (std::int64_t row = 0; row < typed.length(); ++row) {
        if (typed.IsNull(row) || std::isnan(typed.Value(row))) {
            cells.add({});
        } else {
            cells.add_number(static_cast<double>(typed.Value(row)));
        }
    }
}

/// Calls `text_of` for the rows that have a value.
template <typename Array, typename TextOf>
void add_texts(const arrow::Array& column, TextCells& cells, TextOf text_of) {
    const auto& typed = static_cast<const Array&>(column);
    for (std::int64_t row = 0; row < typed.length(); ++row) {
        cells.add(typed.IsNull(row) ? std::string{} : text_of(typed, row));
    }
}

template <typename Array>
std::vector<std::string_view> views_of(const arrow::Array& column) {
    const auto& typed = static_cast<const Array&>(column);
    std::vector<std::string_view> cells;
    cells.reserve(static_cast<std::size_t>(typed.length()));
    for (std::int64_t row = 0; row < typed.length(); ++row) {
        cells.push_back(typed.IsNull(row) ? std::string_view{} : typed.GetView(row));
    }
    return cells;
}

void add_all(const arrow::Array& column, TextCells& cells) {
    switch (column.type_id()) {
    case arrow::Type::BOOL:
        return add_texts<arrow::BooleanArray>(column, cells, [](const auto& typed, std::int64_t row) {
            return std::string{typed.Value(row) ? "true" : "false"};
        });
    case arrow::Type::INT8:
        return add_numbers<arrow::Int8Array>(column, cells);
    case arrow::Type::UINT8:
        return add_numbers<arrow::UInt8Array>(column, cells);
    case arrow::Type::INT16:
        return add_numbers<arrow::Int16Array>(column, cells);
    case arrow::Type::UINT16:
        return add_numbers<arrow::UInt16Array>(column, cells);
    case arrow::Type::INT32:
        return add_numbers<arrow::Int32Array>(column, cells);
    case arrow::Type::UINT32:
        return add_numbers<arrow::UInt32Array>(column, cells);
    case arrow::Type::INT64:
        return add_numbers<arrow::Int64Array>(column, cells);
    case arrow::Type::UINT64:
        return add_numbers<arrow::UInt64Array>(column, cells);
    case arrow::Type::FLOAT:
        return add_reals<arrow::FloatArray>(column, cells);
    case arrow::Type::DOUBLE:
        return add_reals<arrow::DoubleArray>(column, cells);
    case arrow::Type::DECIMAL128:
        return add_texts<arrow::Decimal128Array>(
            column, cells, [](const auto& typed, std::int64_t row) { return typed.FormatValue(row); });
    case arrow::Type::DATE32:
        return add_texts<arrow::Date32Array>(
            column, cells, [](const auto& typed, std::int64_t row) { return date_text(typed.Value(row)); });
    case arrow::Type::DATE64:
        return add_texts<arrow::Date64Array>(column, cells, [](const auto& typed, std::int64_t row) {
            constexpr std::int64_t milliseconds_of_day = 86'400'000;
            return date_text(typed.Value(row) / milliseconds_of_day);
        });
    case arrow::Type::TIMESTAMP:
        return add_texts<arrow::TimestampArray>(column, cells, [](const auto& typed, std::int64_t row) {
            return timestamp_text(typed.Value(row), static_cast<const arrow::TimestampType&>(*typed.type()));
        });
    default: // NA: is_cell_type() let nothing else in
        for (std::int64_t row = 0; row < column.length(); ++row) {
            cells.add({});
        }
    }
}

} // namespace

bool is_cell_type(const arrow::DataType& type) {
    switch (type.id()) {
    case arrow::Type::NA:
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::UINT8:
    case arrow::Type::INT16:
    case arrow::Type::UINT16:
    case arrow::Type::INT32:
    case arrow::Type::UINT32:
    case arrow::Type::INT64:
    case arrow::Type::UINT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
        return true;
    case arrow::Type::DICTIONARY: {
        const auto& values = *static_cast<const arrow::DictionaryType&>(type).value_type();
        return values.id() != arrow::Type::DICTIONARY && is_cell_type(values);
    }
    default:
        return false;
    }
}

Result<std::vector<std::string_view>> cells_of(const arrow::Array& column, std::string& texts, std::int64_t bytes_max) {
    switch (column.type_id()) {
    case arrow::Type::STRING:
        return views_of<arrow::StringArray>(column);
    case arrow::Type::LARGE_STRING:
        return views_of<arrow::LargeStringArray>(column);
    case arrow::Type::STRING_VIEW:
        return views_of<arrow::StringViewArray>(column);
    case arrow::Type::DICTIONARY: {
        const auto& typed = static_cast<const arrow::DictionaryArray&>(column);
        const auto words = cells_of(*typed.dictionary(), texts, bytes_max);
        if (!words) {
            return words;
        }
        std::vector<std::string_view> cells;
        cells.reserve(static_cast<std::size_t>(typed.length()));
        for (std::int64_t row = 0; row < typed.length(); ++row) {
            cells.push_back(typed.IsNull(row) ? std::string_view{}
                                              : (*words)[static_cast<std::size_t>(typed.GetValueIndex(row))]);
        }
        return cells;
    }
    default:
        break;
    }
    TextCells cells{texts, column.length(), bytes_max};
    add_all(column, cells);
    if (!cells.fits()) {
        return Error{ErrorCode::resource_exhausted, fmt::format("the column is larger than {} bytes", bytes_max)};
    }
    return cells.cells();
}

} // namespace muster::data
