#include "model/statistics.h"

#include "base/assert.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

namespace muster {
namespace {

Error wrong(std::string message, const std::string& column) {
    return {ErrorCode::invalid_argument, std::move(message), "column " + column};
}

const char* word_for(ColumnKind kind) {
    switch (kind) {
    case ColumnKind::number:
        return "a number";
    case ColumnKind::category:
        return "text or a category";
    case ColumnKind::token:
        return "a token";
    case ColumnKind::date:
        return "a date";
    }
    return "something else";
}

void merge_categories(std::vector<CategoryCount>& into, const std::vector<CategoryCount>& from) {
    std::map<std::string, std::int64_t> all;
    for (const CategoryCount& count : into) {
        all[count.name] += count.rows;
    }
    for (const CategoryCount& count : from) {
        all[count.name] += count.rows;
    }
    into.clear();
    for (const auto& [name, rows] : all) {
        into.push_back({name, rows});
    }
}

/// Who has a column of which statistics.
struct Column {
    const std::string& site;
    const ColumnStatistics& own;
};

/// `first` is the site that gave `into` its kind.
Result<void> merge_column(ColumnStatistics& into, std::string& first, const Column& from) {
    const ColumnStatistics& own = from.own;
    into.missing = into.missing || own.missing;
    if (own.values == 0) {
        return {};
    }
    if (into.values == 0) {
        const bool missing = into.missing;
        into = own;
        into.missing = missing;
        first = from.site;
        return {};
    }
    if (into.kind != own.kind) {
        return wrong(fmt::format("is {} at {} and {} at {}; make the sources alike, or list it under data.categorical "
                                 "or data.exclude of the recipe",
                                 word_for(into.kind),
                                 first,
                                 word_for(own.kind),
                                 from.site),
                     own.name);
    }
    const auto left = static_cast<double>(into.values);
    const auto right = static_cast<double>(own.values);
    const double step = own.mean - into.mean;
    into.values += own.values;
    into.mean += step * right / (left + right);
    into.squares += own.squares + step * step * left * right / (left + right);
    merge_categories(into.categories, own.categories);
    if (into.categories.size() > merged_categories_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("has more than {} different values over all sites; list it under data.exclude of the "
                                 "recipe",
                                 merged_categories_max),
                     "column " + own.name};
    }
    return {};
}

Result<void> check_same_columns(const SiteStatistics& first, const SiteStatistics& other) {
    const auto lacks = [](const SiteStatistics& site, const SiteStatistics& has) -> Result<void> {
        for (const ColumnStatistics& column : has.table.inputs) {
            if (std::ranges::find(site.table.inputs, column.name, &ColumnStatistics::name) == site.table.inputs.end()) {
                return wrong(fmt::format("is at {}, but not at {}; all sites of a pinned source have the same columns",
                                         has.site,
                                         site.site),
                             column.name);
            }
        }
        return {};
    };
    auto checked = lacks(other, first);
    return checked ? lacks(first, other) : checked;
}

double scale_of(const ColumnStatistics& column) {
    const double deviation = column.values == 0 ? 0.0 : std::sqrt(column.squares / static_cast<double>(column.values));
    return deviation > 0 ? deviation : 1.0;
}

std::vector<std::string> names_of(const std::vector<CategoryCount>& counts) {
    std::vector<std::string> names;
    std::ranges::transform(counts, std::back_inserter(names), &CategoryCount::name);
    return names;
}

Result<TargetColumn> target_of(const TableStatistics& table, TaskKind task) {
    const ColumnStatistics& target = table.target;
    if (target.values == 0) {
        return wrong("the target has no value in any row", target.name);
    }
    if (task == TaskKind::regression) {
        return TargetColumn{.name = target.name,
                            .mean = target.mean,
                            .scale = scale_of(target),
                            .median = median_of(table.target_groups)};
    }
    const std::size_t classes = target.categories.size();
    if (classes < 2 || (task == TaskKind::binary && classes != 2)) {
        return wrong(fmt::format("the target has {} classes with enough rows; {}",
                                 classes,
                                 task == TaskKind::binary ? "binary_cross_entropy needs two" : "two are needed"),
                     target.name);
    }
    return TargetColumn{.name = target.name, .kind = ColumnKind::category, .categories = names_of(target.categories)};
}

} // namespace

std::vector<ValueGroup> groups_of(std::vector<double> values, std::int64_t rows_min) {
    const std::int64_t count = std::ssize(values);
    const std::int64_t size = std::max({rows_min, (count + value_groups_max - 1) / value_groups_max, std::int64_t{1}});
    if (count < size) {
        return {};
    }
    std::ranges::sort(values);
    std::vector<ValueGroup> groups;
    const std::int64_t number = count / size;
    for (std::int64_t i = 0; i < number; ++i) {
        const auto begin = values.begin() + count * i / number;
        const auto end = values.begin() + count * (i + 1) / number;
        groups.push_back({std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin), end - begin});
    }
    return groups;
}

double median_of(std::vector<ValueGroup> groups) {
    std::ranges::sort(groups, {}, &ValueGroup::mean);
    std::int64_t rows = 0;
    for (const ValueGroup& group : groups) {
        rows += group.rows;
    }
    std::int64_t below = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) {
        below += groups[i].rows;
        if (2 * below == rows) {
            return 0.5 * (groups[i].mean + groups[i + 1].mean);
        }
        if (2 * below > rows) {
            return groups[i].mean;
        }
    }
    return 0.0;
}

Result<TableStatistics> without_small_groups(TableStatistics table, std::int64_t rows_min) {
    if (table.rows < rows_min) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the source has fewer rows than the {} that statistics have to be of", rows_min)};
    }
    const auto thin = [&](ColumnStatistics& column) {
        std::erase_if(column.categories, [&](const CategoryCount& count) { return count.rows < rows_min; });
        if (column.values > 0 && column.values < rows_min) {
            column = {.name = column.name, .kind = column.kind, .transform = column.transform, .missing = true};
        }
    };
    std::ranges::for_each(table.inputs, thin);
    thin(table.target);
    std::erase_if(table.target_groups, [&](const ValueGroup& group) { return group.rows < rows_min; });
    return table;
}

Result<TableStatistics> merged(std::span<const SiteStatistics> sites) {
    MUSTER_ASSERT(!sites.empty());
    TableStatistics all = sites.front().table;
    std::vector<std::string> first(all.inputs.size() + 1, sites.front().site);
    for (const SiteStatistics& site : sites.subspan(1)) {
        if (auto same = check_same_columns(sites.front(), site); !same) {
            return std::move(same).error();
        }
        all.rows += site.table.rows;
        for (std::size_t i = 0; i < all.inputs.size(); ++i) {
            const auto own = std::ranges::find(site.table.inputs, all.inputs[i].name, &ColumnStatistics::name);
            if (auto done = merge_column(all.inputs[i], first[i], {site.site, *own}); !done) {
                return std::move(done).error();
            }
        }
        if (auto done = merge_column(all.target, first.back(), {site.site, site.table.target}); !done) {
            return std::move(done).error();
        }
        all.target_groups.insert(
            all.target_groups.end(), site.table.target_groups.begin(), site.table.target_groups.end());
    }
    std::ranges::sort(all.target_groups, {}, &ValueGroup::mean);
    return all;
}

namespace {

/// The categories that have an input of their own, by name.
std::vector<std::string> kept_categories(std::vector<CategoryCount> counts, const RecipeCategories& wanted) {
    std::erase_if(counts, [&](const CategoryCount& each) { return each.rows < wanted.min_rows; });
    const auto most = static_cast<std::size_t>(wanted.at_most);
    if (most > 0 && counts.size() > most) {
        std::ranges::sort(counts, [](const CategoryCount& left, const CategoryCount& right) {
            return std::tie(right.rows, left.name) < std::tie(left.rows, right.name);
        });
        counts.resize(most);
        std::ranges::sort(counts, {}, &CategoryCount::name);
    }
    return names_of(counts);
}

/// As boosted trees read it.
void leave_as_it_is(InputColumn& column) {
    column.raw = true;
    column.missing_flag = false;
    column.mean = 0.0;
    column.fill = 0.0;
    column.scale = 1.0;
}

} // namespace

Result<Preprocessing> preprocessing_of(const TableStatistics& table, const Recipe& recipe) {
    auto target = target_of(table, task_of(recipe));
    if (!target) {
        return std::move(target).error();
    }
    Preprocessing made{.inputs = {}, .target = std::move(*target)};
    for (const ColumnStatistics& input : table.inputs) {
        if (input.values == 0) {
            return wrong("has no value in any row; list it under data.exclude of the recipe", input.name);
        }
        InputColumn column{.name = input.name, .kind = input.kind, .missing_flag = input.missing};
        if (input.kind == ColumnKind::number) {
            column.transform = input.transform;
            column.mean = input.mean;
            column.fill = input.mean;
            column.scale = scale_of(input);
        } else if (input.kind == ColumnKind::category) {
            column.categories = kept_categories(input.categories, recipe.data.categories.value_or(RecipeCategories{}));
            column.bucket = recipe.data.categories.has_value();
        }
        if (has_trees(recipe)) {
            leave_as_it_is(column);
        }
        made.inputs.push_back(std::move(column));
    }
    return made;
}

} // namespace muster
