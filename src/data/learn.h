/// What the training rows say about each column: number or category, mean, spread, categories, missing values.
#pragma once

#include "base/result.h"
#include "data/settings.h"
#include "data/source.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/statistics.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace muster::data {

/// The columns of a source that a recipe uses, by their header's names.
struct UsedColumns {
    RecipeCsv csv{};                 ///< how they are written
    std::vector<std::string> inputs; ///< in the order of the header; with windows the target is one of them
    std::optional<RecipeHistory> history{};
    std::vector<std::string> derived{};        ///< inputs that come from the history, after the others
    std::vector<NumberTransform> transforms{}; ///< of all_inputs(), where they are numbers
    std::string time{};                        ///< orders the rows of windows, an input where it is a date; empty: none
    std::string series{};                      ///< of windows; empty: none
    std::string target;

    /// Inputs of the source, time, series, then the target: the order in which source.h is asked for them.
    [[nodiscard]] std::vector<std::string> all() const;
    /// Inputs of the source, then the derived ones.
    [[nodiscard]] std::vector<std::string> all_inputs() const;
    /// Where all() has the column of the time or the series; none, where there is none.
    [[nodiscard]] std::optional<std::size_t> time_position() const;
    [[nodiscard]] std::optional<std::size_t> series_position() const;
};

/// Applies the recipe to a header. Errors: invalid_argument with the place in the recipe and the nearest name, for a
/// target, an exclusion, a category, a transform, or a column of windows or history that is not in the header, an
/// excluded target, no input left.
[[nodiscard]] Result<UsedColumns> used_columns(const RecipeData& recipe, const std::vector<std::string>& header);

/// What was seen in one column so far.
class ColumnFacts {
public:
    /// `transform` is applied to numbers before they count.
    explicit ColumnFacts(std::size_t categories_max, NumberTransform transform = {})
        : transform_{transform}, categories_max_{categories_max} {}
    void take(std::string_view text, std::int64_t row);

    /// Where something was first seen; row 0: never.
    struct Seen {
        std::int64_t row{};
        std::string text{};
    };
    [[nodiscard]] std::int64_t values() const { return numbers_ + texts_; }
    [[nodiscard]] const Seen& first_missing() const { return first_missing_; }
    [[nodiscard]] const Seen& first_text() const { return first_text_; }
    [[nodiscard]] const Seen& first_not_finite() const { return first_not_finite_; }
    /// Part of the values that are written as numbers, 0 to 1.
    [[nodiscard]] double numeric_part() const;
    /// Whether every value is a date (base/time_text.h).
    [[nodiscard]] bool all_dates() const { return texts_ > 0 && numbers_ == 0 && dates_ == texts_; }
    [[nodiscard]] double mean() const { return mean_; }
    /// Population standard deviation; 1 when it is 0.
    [[nodiscard]] double scale() const;
    /// Sum of squared differences from the mean.
    [[nodiscard]] double squares() const { return squares_; }
    /// Sorted by name; one more than allowed when there were too many, and then the numbers of rows are wrong.
    [[nodiscard]] std::vector<CategoryCount> categories() const;

private:
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    NumberTransform transform_;
    std::size_t categories_max_;
    std::int64_t numbers_{};
    std::int64_t texts_{};
    std::int64_t dates_{}; ///< of the texts
    double mean_{};
    double squares_{};
    Seen first_missing_;
    Seen first_text_;
    Seen first_not_finite_;
    std::unordered_map<std::string, std::int64_t, TextHash, std::equal_to<>> categories_;
};

/// Learns a Preprocessing from the rows of the training source. All its rows count, also those that the seed later
/// keeps for validation: which rows these are is not known when the matrix is made, and every function must encode
/// alike. One thread at a time.
class Learner {
public:
    /// `source` names the file in errors.
    Learner(const UsedColumns& columns, const Recipe& recipe, const Settings& settings, std::string source);

    /// Takes the next rows, of columns `UsedColumns::all_inputs()`, any others, target.
    void take(const TextBlock& block);
    [[nodiscard]] std::int64_t rows() const { return rows_; }
    /// Errors: invalid_argument with the column and, where one is to blame, the row: no rows; a column without any
    /// value; text among numbers; infinite numbers; too many categories; a target that does not fit the loss.
    [[nodiscard]] Result<Preprocessing> finish();
    /// What the rows say where they are a part of all: no column needs a value, no class another one. A regression's
    /// target is in groups of at least `group_rows_min` rows; nothing else is taken out. Errors: otherwise as finish().
    [[nodiscard]] Result<TableStatistics> statistics(std::int64_t group_rows_min) const;

private:
    [[nodiscard]] Result<TableStatistics> gathered() const;
    [[nodiscard]] Result<ColumnStatistics> input_column(std::size_t position) const;
    [[nodiscard]] Result<ColumnStatistics> number_target() const;
    [[nodiscard]] Result<ColumnStatistics> class_target() const;
    [[nodiscard]] Result<void> check_whole(const TableStatistics& table) const;
    /// Different values of a column that are counted.
    [[nodiscard]] std::size_t categories_counted() const;
    [[nodiscard]] Result<void> check_categories(const Preprocessing& learned) const;
    [[nodiscard]] Error refusal(const std::string& column, std::int64_t row, std::string message) const;
    [[nodiscard]] Result<void> check_numbers(const ColumnFacts& facts, const std::string& column) const;

    std::vector<std::string> inputs_;
    std::string target_;
    std::vector<NumberTransform> transforms_;
    std::vector<bool> forced_category_;
    Recipe recipe_;
    TaskKind task_;
    bool windows_;
    Settings settings_;
    std::string source_;
    std::vector<ColumnFacts> facts_;    ///< of the inputs, then of the target
    std::vector<double> target_values_; ///< for the median
    std::int64_t rows_{};
};

} // namespace muster::data
