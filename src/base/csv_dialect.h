/// The dialect of a CSV text: what stands between cells, and what is a number's decimal sign.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

struct CsvDialect {
    char delimiter{','}; ///< one of csv_delimiters
    char decimal{'.'};   ///< point or comma

    bool operator==(const CsvDialect&) const = default;
};

inline constexpr std::string_view csv_delimiters = ",;\t|";

/// Guesses the dialect from the beginning of a text, header included; what is given is not guessed. The delimiter is
/// the one that cuts all records into the same number of cells (the first one may have one less). Numbers have a
/// decimal comma when cells like "1,5" are there and none like "1.5"; between commas they never have.
[[nodiscard]] CsvDialect guess_dialect(std::string_view beginning,
                                       std::optional<char> delimiter = std::nullopt,
                                       std::optional<char> decimal = std::nullopt);

/// Returns how many cells the first record has that is not empty; 0: there is none.
[[nodiscard]] std::size_t cells_of_first_record(std::string_view text, char delimiter);

/// The cell with a decimal point in place of its comma, when it is a number with a comma.
[[nodiscard]] std::optional<std::string> with_decimal_point(std::string_view cell);

/// The cell without spaces around it.
[[nodiscard]] std::string_view trimmed(std::string_view cell);

} // namespace muster
