#include "data/learn.h"

#include "base/cell.h"
#include "base/time_text.h"
#include "data/place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace muster::data {

namespace {

/// Above this part of numbers, text is taken for a mistake and not for a category.
constexpr double number_column_part = 0.5;

Result<void>
check_names(const std::vector<std::string>& names, const char* pointer, const std::vector<std::string>& header) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (std::ranges::find(header, names[i]) == header.end()) {
            return not_allowed(fmt::format("{}/{}", pointer, i), names[i], header);
        }
    }
    return {};
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
}

/// The columns that a history reads are there, and those that it derives are not.
Result<void> check_history(const RecipeHistory& history, const std::vector<std::string>& header) {
    for (const auto& [name, pointer] : {std::pair{&history.group, "/data/history/group"},
                                        std::pair{&history.value, "/data/history/value"},
                                        std::pair{&history.now, "/data/history/now"},
                                        std::pair{&history.known_at, "/data/history/known_at"}}) {
        if (!name->empty() && !contains(header, *name)) {
            return not_allowed(pointer, *name, header);
        }
    }
    for (const std::string& name : history_names(history)) {
        if (contains(header, name)) {
            return Error{ErrorCode::invalid_argument,
                         "the table has a column \"" + name + "\" already, which the history would make",
                         "/data/history"};
        }
    }
    return {};
}

/// What the recipe says of the numbers of each of these inputs. Errors: invalid_argument with the place in the recipe
/// and the nearest name, for a column in data.log or data.clip that is none of them.
Result<std::vector<NumberTransform>> transforms_of(const RecipeData& recipe, const std::vector<std::string>& inputs) {
    std::vector<NumberTransform> transforms(inputs.size());
    for (std::size_t i = 0; i < recipe.log.size(); ++i) {
        const std::string& wanted = recipe.log[i];
        const bool prefix = wanted.ends_with('*');
        const std::string begin = wanted.substr(0, wanted.size() - (prefix ? 1 : 0));
        bool found = false;
        for (std::size_t input = 0; input < inputs.size(); ++input) {
            const bool meant = prefix ? inputs[input].starts_with(begin) : inputs[input] == wanted;
            transforms[input].log = transforms[input].log || meant;
            found = found || meant;
        }
        if (!found) {
            return not_allowed(fmt::format("/data/log/{}", i), wanted, inputs);
        }
    }
    for (const RecipeClip& clip : recipe.clip) {
        const auto input = std::ranges::find(inputs, clip.column);
        if (input == inputs.end()) {
            return not_allowed("/data/clip/" + clip.column, clip.column, inputs);
        }
        NumberTransform& transform = transforms[static_cast<std::size_t>(input - inputs.begin())];
        transform.low = clip.low;
        transform.high = clip.high;
    }
    return transforms;
}

/// Middle of the sorted values; the mean of the two middle ones when their number is even.
double median_of(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    if (values.size() % 2 == 1) {
        return *middle;
    }
    return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

} // namespace

std::vector<std::string> UsedColumns::all() const {
    auto names = inputs;
    for (const std::string& name : {time, series}) {
        if (!name.empty()) {
            names.push_back(name);
        }
    }
    names.push_back(target);
    return names;
}

std::optional<std::size_t> UsedColumns::time_position() const {
    return time.empty() ? std::nullopt : std::optional{inputs.size()};
}

std::optional<std::size_t> UsedColumns::series_position() const {
    return series.empty() ? std::nullopt : std::optional{inputs.size() + (time.empty() ? 0 : 1)};
}

std::vector<std::string> UsedColumns::all_inputs() const {
    std::vector<std::string> names = inputs;
    names.insert(names.end(), derived.begin(), derived.end());
    return names;
}

Result<UsedColumns> used_columns(const RecipeData& recipe, const std::vector<std::string>& header) {
    if (!contains(header, recipe.target)) {
        return not_allowed("/data/target", recipe.target, header);
    }
    for (const auto& [names, pointer] :
         {std::pair{&recipe.exclude, "/data/exclude"}, std::pair{&recipe.categorical, "/data/categorical"}}) {
        if (auto known = check_names(*names, pointer, header); !known) {
            return std::move(known).error();
        }
    }
    if (contains(recipe.exclude, recipe.target)) {
        return Error{ErrorCode::invalid_argument, "the target '" + recipe.target + "' is excluded", "/data/exclude"};
    }
    UsedColumns used{.csv = recipe.csv, .inputs = {}, .target = recipe.target};
    if (recipe.history) {
        if (auto known = check_history(*recipe.history, header); !known) {
            return std::move(known).error();
        }
        used.history = recipe.history;
        used.derived = history_names(*recipe.history);
    }
    if (recipe.windows) {
        used.time = recipe.windows->time;
        used.series = recipe.windows->series;
        for (const auto& [name, pointer] :
             {std::pair{used.time, "/data/windows/time"}, std::pair{used.series, "/data/windows/series"}}) {
            if (!name.empty() && !contains(header, name)) {
                return not_allowed(pointer, name, header);
            }
        }
    }
    for (const auto& name : header) {
        const bool known_before = recipe.windows.has_value() && name == recipe.target; // its past is
        if (used.history &&
            (name == used.history->group || name == used.history->known_at || name == used.history->value)) {
            continue; // what is known later than the row, and whose row it is
        }
        if (known_before || (name != recipe.target && name != used.series && !contains(recipe.exclude, name))) {
            used.inputs.push_back(name);
        }
    }
    if (used.inputs.empty() && used.derived.empty()) {
        return Error{ErrorCode::invalid_argument,
                     "every column but the target is excluded: nothing to learn from",
                     "/data/exclude"};
    }
    auto transforms = transforms_of(recipe, used.all_inputs());
    if (!transforms) {
        return std::move(transforms).error();
    }
    used.transforms = std::move(*transforms);
    return used;
}

void ColumnFacts::take(std::string_view text, std::int64_t row) {
    const Cell cell = parse_cell(text);
    const auto note = [&](Seen& seen) {
        if (seen.row == 0) {
            seen = {row, std::string{text}};
        }
    };
    switch (cell.kind) {
    case CellKind::missing:
        note(first_missing_);
        return;
    case CellKind::number: {
        ++numbers_;
        // Welford: exact enough for large values with a small spread, such as coordinates.
        const double value = transform_(cell.value);
        const double step = value - mean_;
        mean_ += step / static_cast<double>(numbers_);
        squares_ += step * (value - mean_);
        break;
    }
    case CellKind::not_finite:
        ++numbers_;
        note(first_not_finite_);
        break;
    case CellKind::text:
        dates_ += dates_ == texts_ && parse_time(text) ? 1 : 0; // one that is none is enough
        ++texts_;
        note(first_text_);
        break;
    }
    if (categories_.size() <= categories_max_) {
        if (const auto found = categories_.find(text); found != categories_.end()) {
            ++found->second;
        } else {
            categories_.emplace(text, 1);
        }
    }
}

double ColumnFacts::numeric_part() const {
    return values() == 0 ? 0.0 : static_cast<double>(numbers_) / static_cast<double>(values());
}

double ColumnFacts::scale() const {
    const double deviation = numbers_ == 0 ? 0.0 : std::sqrt(squares_ / static_cast<double>(numbers_));
    return deviation > 0 ? deviation : 1.0;
}

std::vector<CategoryCount> ColumnFacts::categories() const {
    std::vector<CategoryCount> sorted;
    for (const auto& [name, rows] : categories_) {
        sorted.push_back({name, rows});
    }
    std::ranges::sort(sorted, {}, &CategoryCount::name);
    return sorted;
}

Learner::Learner(const UsedColumns& columns, const Recipe& recipe, const Settings& settings, std::string source)
    : inputs_{columns.all_inputs()}, target_{columns.target}, transforms_{columns.transforms}, recipe_{recipe},
      task_{task_of(recipe)}, windows_{recipe.data.windows.has_value()}, settings_{settings}, source_{
                                                                                                  std::move(source)} {
    for (std::size_t input = 0; input < inputs_.size(); ++input) {
        forced_category_.push_back(contains(recipe.data.categorical, inputs_[input]));
        facts_.emplace_back(categories_counted(), transforms_[input]);
    }
    facts_.emplace_back(settings.categories_max); // of the target
}

void Learner::take(const TextBlock& block) {
    for (std::size_t column = 0; column < facts_.size(); ++column) {
        const bool target = column + 1 == facts_.size();
        const TextColumn& texts = target ? block.columns.back() : block.columns[column];
        for (std::int64_t row = 0; row < block.rows; ++row) {
            facts_[column].take(texts[static_cast<std::size_t>(row)], block.first_row + row);
        }
    }
    if (task_ == TaskKind::regression) {
        for (const auto text : block.columns.back()) {
            if (const Cell cell = parse_cell(text); cell.kind != CellKind::missing) {
                target_values_.push_back(cell.value);
            }
        }
    }
    rows_ += block.rows;
}

Result<TableStatistics> Learner::gathered() const {
    if (rows_ == 0) {
        return Error{ErrorCode::invalid_argument, "there is a header but not one row", source_};
    }
    auto target = task_ == TaskKind::regression ? number_target() : class_target();
    if (!target) {
        return std::move(target).error();
    }
    TableStatistics table{.rows = rows_, .inputs = {}, .target = std::move(*target)};
    for (std::size_t position = 0; position < inputs_.size(); ++position) {
        auto input = input_column(position);
        if (!input) {
            return std::move(input).error();
        }
        table.inputs.push_back(std::move(*input));
    }
    return table;
}

Result<TableStatistics> Learner::statistics(std::int64_t group_rows_min) const {
    auto table = gathered();
    if (table) {
        table->target_groups = groups_of(target_values_, group_rows_min);
    }
    return table;
}

Result<Preprocessing> Learner::finish() {
    const auto table = gathered();
    if (!table) {
        return table.error();
    }
    if (auto whole = check_whole(*table); !whole) {
        return std::move(whole).error();
    }
    auto learned = preprocessing_of(*table, recipe_);
    if (learned) {
        if (auto few = check_categories(*learned); !few) {
            return std::move(few).error();
        }
    }
    if (learned && task_ == TaskKind::regression) {
        learned->target.median = median_of(target_values_);
    }
    return learned;
}

Result<void> Learner::check_whole(const TableStatistics& table) const {
    if (task_ != TaskKind::regression) {
        const auto& classes = table.target.categories;
        if (classes.size() < 2) {
            return refusal(
                target_,
                0,
                fmt::format("the target is always {}: there is nothing to tell apart", excerpt(classes.front().name)));
        }
        if (task_ == TaskKind::binary && classes.size() != 2) {
            return refusal(target_,
                           0,
                           fmt::format("the target has {} classes, but binary_cross_entropy needs two; use "
                                       "cross_entropy",
                                       classes.size()));
        }
    }
    for (const ColumnStatistics& input : table.inputs) {
        if (input.values == 0) {
            return refusal(
                input.name, 0, "the column has no value in any row; list it under data.exclude of the recipe");
        }
    }
    return {};
}

std::size_t Learner::categories_counted() const {
    return recipe_.data.categories ? settings_.counted_max : settings_.categories_max;
}

Result<void> Learner::check_categories(const Preprocessing& learned) const {
    for (const InputColumn& input : learned.inputs) {
        if (input.categories.size() > settings_.categories_max) {
            return refusal(input.name,
                           0,
                           fmt::format("{} categories of the column would have an input of their own; {} are allowed: "
                                       "set data.categories.at_most of the recipe",
                                       input.categories.size(),
                                       settings_.categories_max));
        }
    }
    return {};
}

Result<ColumnStatistics> Learner::input_column(std::size_t position) const {
    const auto& facts = facts_[position];
    ColumnStatistics column{.name = inputs_[position], .missing = facts.first_missing().row > 0};
    column.values = facts.values();
    if (column.values == 0) {
        return column;
    }
    if (!forced_category_[position] && facts.numeric_part() > number_column_part) {
        if (auto checked = check_numbers(facts, column.name); !checked) {
            return std::move(checked).error();
        }
        column.transform = transforms_[position];
        column.mean = facts.mean();
        column.squares = facts.squares();
        return column;
    }
    if (transforms_[position] != NumberTransform{}) {
        return refusal(column.name,
                       facts.first_text().row,
                       "data.log and data.clip are for numbers, which this column does not hold");
    }
    if (!forced_category_[position] && facts.all_dates()) {
        column.kind = ColumnKind::date;
        return column;
    }
    column.kind = ColumnKind::category;
    column.categories = facts.categories();
    if (column.categories.size() > categories_counted()) {
        return refusal(column.name,
                       0,
                       fmt::format("the column holds text with more than {} different values; {}list it under "
                                   "data.exclude of the recipe (names and identifiers teach nothing)",
                                   categories_counted(),
                                   recipe_.data.categories
                                       ? ""
                                       : "keep the most frequent ones with data.categories: {at_most: 100}, or "));
    }
    return column;
}

Result<ColumnStatistics> Learner::number_target() const {
    const auto& facts = facts_.back();
    const auto& name = target_;
    if (facts.values() == 0) {
        return refusal(name, 0, "the target has no value in any row");
    }
    if (facts.first_missing().row > 0 && !windows_) {
        return refusal(name, facts.first_missing().row, "the target has no value here; remove the row");
    }
    if (facts.numeric_part() <= number_column_part) {
        return refusal(name,
                       facts.first_text().row,
                       fmt::format("the target holds text ({}), but the loss of the recipe needs numbers",
                                   excerpt(facts.first_text().text)));
    }
    if (auto checked = check_numbers(facts, name); !checked) {
        return std::move(checked).error();
    }
    return ColumnStatistics{.name = name, .values = facts.values(), .mean = facts.mean(), .squares = facts.squares()};
}

Result<ColumnStatistics> Learner::class_target() const {
    const auto& facts = facts_.back();
    const auto& name = target_;
    if (facts.values() == 0) {
        return refusal(name, 0, "the target has no value in any row");
    }
    if (facts.first_missing().row > 0 && !windows_) {
        return refusal(name, facts.first_missing().row, "the target has no value here; remove the row");
    }
    ColumnStatistics column{
        .name = name, .kind = ColumnKind::category, .values = facts.values(), .categories = facts.categories()};
    if (column.categories.size() > settings_.categories_max) {
        return refusal(
            name,
            0,
            fmt::format("the target has more than {} different values: too many classes", settings_.categories_max));
    }
    return column;
}

Error Learner::refusal(const std::string& column, std::int64_t row, std::string message) const {
    return {ErrorCode::invalid_argument, std::move(message), place_in(source_, row, column)};
}

Result<void> Learner::check_numbers(const ColumnFacts& facts, const std::string& column) const {
    if (facts.first_text().row > 0) {
        return refusal(column,
                       facts.first_text().row,
                       fmt::format("{} is not a number, but {:.4g} % of the column are; correct it, or list the column "
                                   "under data.categorical or data.exclude of the recipe",
                                   excerpt(facts.first_text().text),
                                   100 * facts.numeric_part()));
    }
    if (facts.first_not_finite().row > 0) {
        return refusal(column,
                       facts.first_not_finite().row,
                       fmt::format("{} is not a finite number", excerpt(facts.first_not_finite().text)));
    }
    if (!std::isfinite(facts.mean()) || !std::isfinite(facts.squares())) {
        return refusal(column, 0, "the numbers are too large for a mean and a standard deviation");
    }
    return {};
}

} // namespace muster::data
