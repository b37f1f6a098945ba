/// What the rows of one site say about its columns, without saying any of them: what a Preprocessing is made of.
#pragma once

#include "base/result.h"
#include "model/preprocessing.h"
#include "model/recipe.h"
#include "model/score.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster {

/// A category and the number of rows that have it.
struct CategoryCount {
    std::string name;
    std::int64_t rows{};

    bool operator==(const CategoryCount&) const = default;
};

/// Neighbours in the order of their values: their mean and how many they are.
struct ValueGroup {
    double mean{};
    std::int64_t rows{};

    bool operator==(const ValueGroup&) const = default;
};

/// Statistics of one column. No smallest or largest value is among them: those are single rows'.
struct ColumnStatistics {
    std::string name;
    ColumnKind kind{ColumnKind::number};     ///< as these rows have it
    NumberTransform transform{};             ///< number: as the recipe says; what follows is of transformed values
    std::int64_t values{};                   ///< rows that have one; 0: the kind is not known
    bool missing{};                          ///< whether a row has none
    double mean{};                           ///< number
    double squares{};                        ///< number: sum of squared differences from the mean
    std::vector<CategoryCount> categories{}; ///< category: sorted by name

    bool operator==(const ColumnStatistics&) const = default;
};

/// Statistics of a table.
struct TableStatistics {
    std::int64_t rows{};
    std::vector<ColumnStatistics> inputs; ///< in the order of the header, then those of the history
    ColumnStatistics target;
    std::vector<ValueGroup> target_groups{}; ///< of a regression: all values of the target, ascending

    bool operator==(const TableStatistics&) const = default;
};

/// The same with the name of the site whose rows they are.
struct SiteStatistics {
    std::string site;
    TableStatistics table;
};

/// Groups of values at most: each has at least so many rows besides.
inline constexpr std::int64_t value_groups_max = 256;
/// Different categories of one column over all sites.
inline constexpr std::size_t merged_categories_max = 4096;

/// Sorts `values` and groups neighbours, at least `rows_min` of them and at most value_groups_max groups. Fewer values
/// than rows_min: no group.
[[nodiscard]] std::vector<ValueGroup> groups_of(std::vector<double> values, std::int64_t rows_min);

/// The middle of grouped values, in any order: right to the width of a group. Of none: 0.
[[nodiscard]] double median_of(std::vector<ValueGroup> groups);

/// Takes out what fewer than `rows_min` rows say: categories that rare, and mean and spread of columns with as few
/// values. Such rows are encoded by what is known of the others. Errors: invalid_argument, when there are fewer rows
/// than that at all.
[[nodiscard]] Result<TableStatistics> without_small_groups(TableStatistics table, std::int64_t rows_min);

/// The statistics of the union of all sites' rows; exact but for what was taken out before. Columns are in the order of
/// the first site. Source: Chan, Golub, LeVeque 1979, for mean and spread. REQUIRES: there is a site
/// Errors: invalid_argument, naming sites and column: a column that one has and another lacks or has as another kind;
/// resource_exhausted, over merged_categories_max.
[[nodiscard]] Result<TableStatistics> merged(std::span<const SiteStatistics> sites);

/// What columns with these statistics are encoded by under a recipe: it says which categories have an input of their
/// own, and boosted trees read rows as they are. The median is that of the groups.
/// Errors: invalid_argument, naming the column: one without any value; a target of too few or too many classes.
[[nodiscard]] Result<Preprocessing> preprocessing_of(const TableStatistics& table, const Recipe& recipe);

} // namespace muster
