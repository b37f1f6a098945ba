/// Rows of series in the order of time, and what is to be forecast at each.
#pragma once

#include "base/result.h"
#include "data/learn.h"
#include "data/matrix_file.h"
#include "data/settings.h"
#include "data/source.h"
#include "model/preprocessing.h"
#include "model/recipe.h"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace muster::data {

/// Target of the first row of a series, which never ends a window.
inline constexpr float series_begins = -std::numeric_limits<float>::infinity();

/// The rows of a source in their final order.
struct ArrangedRows {
    std::vector<std::int64_t> order; ///< by final position: the row's position in the source
    std::vector<float> target;       ///< by final position: the target `horizon` steps later; NaN: the row ends no
                                     ///< window, or the target is missing; series_begins in each first row
    double step{};                   ///< median time from a row to the next one of its series; 0 without time
};

/// Finds the order of rows and their targets. Takes 20 bytes for each row and one copy of each series' name. One thread
/// at a time.
class SeriesRows {
public:
    /// `source` names the file in errors. `columns` outlives it.
    SeriesRows(const RecipeWindows& windows, const UsedColumns& columns, std::string source);

    /// Takes the next rows, of columns `UsedColumns::all()`, with their own targets, NaN where missing.
    /// Errors: invalid_argument with the place: no time or series in a row, a time that is none.
    [[nodiscard]] Result<void> take(const TextBlock& block, std::span<const float> targets);
    /// Series come one after the other as they first appear, the rows of each ordered by time, where there is one. A
    /// target counts when its time is `horizon` steps after the row's, to half a step: rows that the source lacks are
    /// no shorter way.
    /// Errors: invalid_argument: two rows of a series at one time (the later row named); no row that ends a window.
    [[nodiscard]] Result<ArrangedRows> finish();

private:
    struct Row {
        std::int64_t position{};
        std::int64_t series{};
        double time{};
    };
    [[nodiscard]] Result<void> order_rows();
    [[nodiscard]] double median_step() const;
    void set_targets(std::span<const Row> series, double step, std::span<float> targets) const;
    [[nodiscard]] std::int64_t row_number(std::int64_t position) const;
    [[nodiscard]] std::string file_row(std::int64_t position, const std::string& column) const;

    RecipeWindows windows_;
    const UsedColumns& columns_;
    std::string source_;
    std::unordered_map<std::string, std::int64_t> series_;
    std::vector<Row> rows_;
    std::vector<std::pair<std::int64_t, std::int64_t>> blocks_; ///< position and number of the first row of each block
    std::vector<float> targets_;                                ///< by position in the source
};

/// Writes the rows of a source in the order of SeriesRows with the targets of the windows; `step` becomes theirs.
/// Errors: those of read_rows, Encoder::encode and SeriesRows; resource_exhausted; unavailable.
[[nodiscard]] Result<void> write_windows(const std::filesystem::path& source,
                                         const RecipeWindows& windows,
                                         const UsedColumns& columns,
                                         const Preprocessing& preprocessing,
                                         MatrixFiles& files,
                                         const Settings& settings,
                                         double& step);

} // namespace muster::data
