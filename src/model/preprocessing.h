/// How raw rows become the numbers a model sees. Learned from the training rows, kept with the model.
#pragma once

#include "model/history.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

enum class ColumnKind { number, category, token, date };

/// What becomes of a number before it is standardised: it is kept within limits, then its logarithm may be taken.
struct NumberTransform {
    std::optional<double> low{};  ///< smaller values become this one
    std::optional<double> high{}; ///< larger values become this one
    bool log{};                   ///< sign(value) ln(1 + |value|)

    [[nodiscard]] double operator()(double value) const;
    bool operator==(const NumberTransform&) const = default;
};

/// One input column. Encoded columns, in this order for each input: number -> (transform(value) - mean) / scale,
/// one column; category -> one 0/1 column for each entry of `categories`, all zero for an unknown one; with `bucket`
/// one more for all that have no entry.
/// With `missing_flag`, one more 0/1 column follows that says "was missing". A missing number becomes
/// `fill` first; a missing category is all zero. date -> four columns that turn with the time of the day and of the
/// week: sine and cosine of the part of a day, then of a week, that has passed since 1970 (UTC); a missing one is all
/// zero. token: of a text, one column with the index in `categories`, which
/// are its vocabulary; where units were characters, the last one stands for what training did not see.
/// With `raw`, as boosted trees read it, nothing is scaled or filled in: number -> transform(value); category -> one
/// column with the index in `categories`; date -> two columns, the parts of a day and of a week that have passed. What
/// is missing or unknown is NaN.
struct InputColumn {
    std::string name;
    ColumnKind kind{ColumnKind::number};
    NumberTransform transform{};           ///< number
    double fill{};                         ///< number: the training mean
    double mean{};                         ///< number: of transformed values, as `fill` and `scale`
    double scale{1.0};                     ///< number: training standard deviation, 1 when that is 0
    std::vector<std::string> categories{}; ///< category: sorted, as seen in training
    bool bucket{};                         ///< category: the rest, and what training did not see, is one more
    bool missing_flag{};                   ///< whether missing values were seen in training; not with `raw`
    bool raw{};

    bool operator==(const InputColumn&) const = default;
};

inline constexpr std::size_t date_columns = 4;
inline constexpr std::size_t raw_date_columns = 2;
inline constexpr double seconds_of_day = 86'400.0;
inline constexpr double seconds_of_week = 7 * seconds_of_day;

/// Encoded columns of an input.
[[nodiscard]] std::int64_t encoded_columns(const InputColumn& input);

/// The target. number: trained as (value - mean) / scale; category: trained as the index in `categories`.
struct TargetColumn {
    std::string name;
    ColumnKind kind{ColumnKind::number};
    double mean{};
    double scale{1.0};
    double median{};
    std::vector<std::string> categories{};

    bool operator==(const TargetColumn&) const = default;
};

/// All columns of a model, in the order of the file's header.
struct Preprocessing {
    std::vector<InputColumn> inputs;
    TargetColumn target;
    std::optional<RecipeHistory> history{}; ///< the last inputs are derived from earlier rows

    /// Width of an encoded row.
    [[nodiscard]] std::int64_t encoded_columns() const;
    /// Says whether the model is one of language: its only input is tokens, and it predicts the next one.
    [[nodiscard]] bool reads_text() const;
    /// Number of model outputs: 1, or the number of target categories when there are more than two; of a language
    /// model the size of its vocabulary.
    [[nodiscard]] std::int64_t outputs() const;

    bool operator==(const Preprocessing&) const = default;
};

/// What muster-data leaves in a cache folder (docs: api/matrix.md): files
///   train.features  float32 [rows, columns] row-major, encoded
///   train.target    float32 [rows], raw unit or class index
/// of a text: one row for each token but the last, its number and as target the number of the next one
///   test.features, test.target  the same for the test source, encoded with the training statistics
///   matrix.json     this struct and the Preprocessing
struct MatrixInfo {
    std::int64_t rows{};
    std::int64_t test_rows{};
    std::int64_t columns{};  ///< encoded width
    std::string digest{};    ///< SHA-256 over the matrix files and the preprocessing: equal digests, equal data
    double encode_seconds{}; ///< 0 when it came from the cache
};

/// A file of a matrix: its name in the cache, and its size. Little-endian float32 values, [rows, columns] or [rows].
struct MatrixPart {
    const char* name;
    std::int64_t bytes;
};
/// The files of a matrix, in the order in which its digest is made of theirs: without test rows two, else four.
[[nodiscard]] std::vector<MatrixPart> parts_of(const MatrixInfo& info);
/// Bytes of all of them.
[[nodiscard]] std::int64_t bytes_of(const MatrixInfo& info);

} // namespace muster
