/// What was known of the earlier rows of its group when a row was made: derived inputs that look into no future.
#pragma once

#include "base/result.h"
#include "data/learn.h"
#include "data/settings.h"
#include "data/source.h"
#include "model/recipe.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace muster::data {

/// The values of a source by group and by when they became known. Takes 36 bytes for each row. After read() it is
/// constant.
class History {
public:
    /// Reads the columns that `history` names, from all rows. Errors: those of read_rows; invalid_argument with the
    /// place: no group or time in a row, a time that is none, a value that is no number or is known before its row.
    [[nodiscard]] static Result<History> read(const std::filesystem::path& source,
                                              const RecipeHistory& history,
                                              const RecipeCsv& csv,
                                              const Settings& settings);

    /// Writes the derived inputs of the row at this position in the source, in the order of history_names(); NaN where
    /// nothing is known. Thread-safe.
    void derive(std::int64_t position, std::span<double> derived) const;
    [[nodiscard]] std::int64_t rows() const { return std::ssize(rows_); }

private:
    struct Row {
        std::size_t group{};
        double now{};
    };
    struct Group {
        std::vector<double> begun{};  ///< times of all rows, sorted
        std::vector<double> known{};  ///< when values became known, sorted
        std::vector<double> values{}; ///< in the order of `known`
    };
    explicit History(RecipeHistory history) : history_{std::move(history)} {}
    /// What a row says of itself.
    struct Cells {
        std::string_view group;
        std::string_view now;
        std::string_view known_at;
        std::string_view value;
    };
    [[nodiscard]] Result<void> take(const Cells& cells);
    void sort();

    RecipeHistory history_;
    std::unordered_map<std::string, std::size_t> names_;
    std::vector<Group> groups_;
    std::vector<Row> rows_;
};

/// Like read_rows of `columns.all()`, with the columns inputs, derived inputs, any others, target.
/// Errors: also those of History::read; unavailable, when the source grew in between.
[[nodiscard]] Result<void> read_table(const std::filesystem::path& source,
                                      const UsedColumns& columns,
                                      const Settings& settings,
                                      const std::function<Result<void>(const TextBlock&)>& take);

} // namespace muster::data
