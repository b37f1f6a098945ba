#include "data/encode.h"

#include "base/cell.h"
#include "base/time_text.h"
#include "data/place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

namespace muster::data {

namespace {

std::optional<std::size_t> index_of(const std::vector<std::string>& sorted, std::string_view text) {
    const auto found = std::ranges::lower_bound(sorted, text);
    if (found == sorted.end() || *found != text) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - sorted.begin());
}

std::size_t width_of(const InputColumn& input) {
    return static_cast<std::size_t>(encoded_columns(input));
}

} // namespace

Encoder::Encoder(const Preprocessing& preprocessing, std::string source, bool target_may_miss)
    : preprocessing_{preprocessing}, source_{std::move(source)},
      target_may_miss_{target_may_miss}, width_{static_cast<std::size_t>(preprocessing.encoded_columns())} {}

Result<void> Encoder::encode(const TextBlock& block) {
    rows_ = static_cast<std::size_t>(block.rows);
    first_row_ = block.first_row;
    features_.assign(rows_ * width_, 0.0F);
    target_.assign(rows_, 0.0F);
    std::size_t first = 0;
    for (std::size_t column = 0; column < preprocessing_.inputs.size(); ++column) {
        const auto& input = preprocessing_.inputs[column];
        const TextColumn& text = block.columns[column];
        if (auto encoded = encode_input(input, text, first); !encoded) {
            return encoded;
        }
        first += width_of(input);
    }
    return encode_target(block.columns.back());
}

Result<void> Encoder::encode_input(const InputColumn& input, const TextColumn& text, std::size_t first) {
    switch (input.kind) {
    case ColumnKind::date:
        return encode_date(input, text, first);
    case ColumnKind::category:
        encode_category(input, text, first);
        return {};
    case ColumnKind::number:
    case ColumnKind::token:
        break;
    }
    return encode_number(input, text, first);
}

void Encoder::encode_category(const InputColumn& input, const TextColumn& text, std::size_t first) {
    const std::size_t known = input.categories.size();
    const std::size_t flag = first + width_of(input) - 1;
    for (std::size_t row = 0; row < rows_; ++row) {
        float* encoded = features_.data() + row * width_;
        const bool missing = is_missing(text[row]);
        auto position = missing ? std::nullopt : index_of(input.categories, text[row]);
        if (!missing && !position && input.bucket) {
            position = known;
        }
        if (input.raw) {
            encoded[first] = position ? static_cast<float>(*position) : std::numeric_limits<float>::quiet_NaN();
        } else if (position) {
            encoded[first + *position] = 1.0F;
        } else if (missing && input.missing_flag) {
            encoded[flag] = 1.0F;
        }
    }
}

Result<void> Encoder::encode_number(const InputColumn& input, const TextColumn& text, std::size_t first) {
    const std::size_t flag = first + width_of(input) - 1;
    for (std::size_t row = 0; row < rows_; ++row) {
        const auto cell_text = text[row];
        float* encoded = features_.data() + row * width_;
        const Cell cell = parse_cell(cell_text);
        if (cell.kind == CellKind::text || cell.kind == CellKind::not_finite) {
            return refusal(
                input.name, row, fmt::format("{} is not a finite number, as in training", excerpt(cell_text)));
        }
        const bool missing = cell.kind == CellKind::missing;
        if (missing && input.raw) {
            encoded[first] = std::numeric_limits<float>::quiet_NaN();
            continue;
        }
        const double number = missing ? input.fill : input.transform(cell.value);
        const auto value = static_cast<float>((number - input.mean) / input.scale);
        if (!std::isfinite(value)) {
            return refusal(input.name, row, fmt::format("{} is too far from the training rows", excerpt(cell_text)));
        }
        encoded[first] = value;
        if (input.missing_flag && missing) {
            encoded[flag] = 1.0F;
        }
    }
    return {};
}

Result<void> Encoder::encode_date(const InputColumn& input, const TextColumn& text, std::size_t first) {
    for (std::size_t row = 0; row < rows_; ++row) {
        float* encoded = features_.data() + row * width_ + first;
        if (is_missing(text[row])) {
            if (input.missing_flag) {
                encoded[date_columns] = 1.0F;
            }
            if (input.raw) {
                std::fill_n(encoded, raw_date_columns, std::numeric_limits<float>::quiet_NaN());
            }
            continue;
        }
        const auto seconds = parse_time(text[row]);
        if (!seconds) {
            return refusal(input.name,
                           row,
                           fmt::format("{} is no date such as 2026-01-31T09:15, as in training", excerpt(text[row])));
        }
        for (const double period : {seconds_of_day, seconds_of_week}) {
            const double turns = *seconds / period;
            const double part = turns - std::floor(turns);
            if (input.raw) {
                *encoded++ = static_cast<float>(part);
                continue;
            }
            const double angle = 2.0 * std::numbers::pi * part;
            *encoded++ = static_cast<float>(std::sin(angle));
            *encoded++ = static_cast<float>(std::cos(angle));
        }
    }
    return {};
}

Result<void> Encoder::encode_target(const TextColumn& text) {
    const auto& column = preprocessing_.target;
    for (std::size_t row = 0; row < rows_; ++row) {
        const auto cell_text = text[row];
        if (target_may_miss_ && is_missing(cell_text)) {
            target_[row] = std::numeric_limits<float>::quiet_NaN();
            continue;
        }
        if (column.kind == ColumnKind::category) {
            const auto index = index_of(column.categories, cell_text);
            if (!index) {
                Error error = refusal(
                    column.name, row, fmt::format("the class {} does not occur in training", excerpt(cell_text)));
                error.allowed = column.categories;
                error.nearest = nearest_of(std::string{cell_text}, column.categories);
                return error;
            }
            target_[row] = static_cast<float>(*index);
            continue;
        }
        const Cell cell = parse_cell(cell_text);
        if (cell.kind != CellKind::number || !std::isfinite(static_cast<float>(cell.value))) {
            return refusal(
                column.name,
                row,
                fmt::format("{} is not a finite number; the target needs one in every row", excerpt(cell_text)));
        }
        target_[row] = static_cast<float>(cell.value);
    }
    return {};
}

Error Encoder::refusal(const std::string& column, std::size_t row, std::string message) const {
    return {ErrorCode::invalid_argument,
            std::move(message),
            place_in(source_, first_row_ + static_cast<std::int64_t>(row), column)};
}

} // namespace muster::data
