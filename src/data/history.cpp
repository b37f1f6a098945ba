#include "data/history.h"

#include "base/cell.h"
#include "base/time_text.h"
#include "data/place.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

namespace muster::data {
namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

/// The columns that History reads, each once, and which of them has what.
struct HistoryColumns {
    explicit HistoryColumns(const RecipeHistory& history)
        : group{history.group.empty() ? none : place_of(history.group)}, now{place_of(history.now)},
          known_at{history.known_at.empty() ? now : place_of(history.known_at)}, value{place_of(history.value)} {}

    static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
    std::vector<std::string> names{};
    std::size_t group;
    std::size_t now;
    std::size_t known_at;
    std::size_t value;

private:
    std::size_t place_of(const std::string& name) {
        const auto found = std::ranges::find(names, name);
        if (found == names.end()) {
            names.push_back(name);
            return names.size() - 1;
        }
        return static_cast<std::size_t>(found - names.begin());
    }
};

double statistic_of(HistoryStatistic statistic, std::span<const double> values, std::vector<double>& scratch) {
    if (values.empty()) {
        return nothing;
    }
    const auto count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    switch (statistic) {
    case HistoryStatistic::mean:
        return mean;
    case HistoryStatistic::minimum:
        return *std::ranges::min_element(values);
    case HistoryStatistic::maximum:
        return *std::ranges::max_element(values);
    case HistoryStatistic::deviation:
        return std::sqrt(
            std::accumulate(values.begin(),
                            values.end(),
                            0.0,
                            [mean](double sum, double value) { return sum + (value - mean) * (value - mean); }) /
            count);
    case HistoryStatistic::median:
        break;
    }
    scratch.assign(values.begin(), values.end());
    std::ranges::sort(scratch);
    const std::size_t middle = scratch.size() / 2;
    return scratch.size() % 2 == 1 ? scratch[middle] : (scratch[middle - 1] + scratch[middle]) / 2.0;
}

/// Numbers below `time` in sorted times.
std::ptrdiff_t count_before(const std::vector<double>& times, double time) {
    return std::ranges::lower_bound(times, time) - times.begin();
}

/// Puts derived numbers between the inputs and the rest, as text that reads back as the same numbers.
class DerivedCells {
public:
    explicit DerivedCells(std::size_t columns) : columns_{columns}, numbers_(columns) {}

    /// The block gets `columns` more columns after its first `inputs`.
    void insert(TextBlock& block, const History& history, std::int64_t first, std::size_t inputs) {
        constexpr std::size_t longest_number = 32;
        const auto rows = static_cast<std::size_t>(block.rows);
        texts_.resize(columns_ * rows * longest_number);
        std::vector<TextColumn> cells(columns_, TextColumn(rows));
        char* end = texts_.data();
        for (std::size_t row = 0; row < rows; ++row) {
            history.derive(first + static_cast<std::int64_t>(row), numbers_);
            for (std::size_t column = 0; column < columns_; ++column) {
                if (std::isnan(numbers_[column])) {
                    continue; // an empty cell is a missing one
                }
                char* const begin = end;
                end = std::to_chars(begin, texts_.data() + texts_.size(), numbers_[column]).ptr;
                cells[column][row] = {begin, static_cast<std::size_t>(end - begin)};
            }
        }
        const auto place = block.columns.begin() + static_cast<std::ptrdiff_t>(inputs);
        block.columns.insert(place, std::make_move_iterator(cells.begin()), std::make_move_iterator(cells.end()));
    }

private:
    std::size_t columns_;
    std::vector<double> numbers_;
    std::vector<char> texts_;
};

} // namespace

Result<History> History::read(const std::filesystem::path& source,
                              const RecipeHistory& history,
                              const RecipeCsv& csv,
                              const Settings& settings) {
    History read{history};
    const HistoryColumns columns{history};
    auto done = read_rows(source, csv, columns.names, settings, [&](const TextBlock& block) -> Result<void> {
        for (std::size_t row = 0; row < static_cast<std::size_t>(block.rows); ++row) {
            auto taken = read.take({.group = columns.group == HistoryColumns::none ? std::string_view{"all"}
                                                                                   : block.columns[columns.group][row],
                                    .now = block.columns[columns.now][row],
                                    .known_at = block.columns[columns.known_at][row],
                                    .value = block.columns[columns.value][row]});
            if (!taken) {
                Error error = std::move(taken).error(); // its place is a column
                error.where = place_in(source.string(), block.first_row + static_cast<std::int64_t>(row), error.where);
                return error;
            }
        }
        return {};
    });
    if (!done) {
        return std::move(done).error();
    }
    read.sort();
    return read;
}

Result<void> History::take(const Cells& cells) {
    const auto refusal = [](const std::string& column, std::string message) {
        return Error{ErrorCode::invalid_argument, std::move(message), column};
    };
    if (is_missing(cells.group)) {
        return refusal(history_.group, "no group is named; every row of a table with data.history needs one");
    }
    const auto now = parse_time(cells.now);
    if (!now) {
        return refusal(
            history_.now,
            fmt::format("{} is no time; a number or an ISO 8601 date such as 2026-01-31T09:15 is", excerpt(cells.now)));
    }
    const std::size_t number = names_.emplace(cells.group, groups_.size()).first->second;
    if (number == groups_.size()) {
        groups_.emplace_back();
    }
    Group& group = groups_[number];
    rows_.push_back({number, *now});
    group.begun.push_back(*now);
    const Cell value = parse_cell(cells.value);
    if (value.kind == CellKind::missing || is_missing(cells.known_at)) {
        return {}; // it never became known
    }
    if (value.kind != CellKind::number) {
        return refusal(history_.value, fmt::format("{} is not a finite number", excerpt(cells.value)));
    }
    const auto known = parse_time(cells.known_at);
    if (!known || *known < *now) {
        return refusal(history_.known_at,
                       known ? fmt::format("the value became known at {}, before its row was made at {}",
                                           excerpt(cells.known_at),
                                           excerpt(cells.now))
                             : fmt::format("{} is no time", excerpt(cells.known_at)));
    }
    group.known.push_back(*known);
    group.values.push_back(value.value);
    return {};
}

void History::sort() {
    for (Group& group : groups_) {
        std::ranges::sort(group.begun);
        std::vector<std::size_t> order(group.known.size());
        std::iota(order.begin(), order.end(), 0U);
        std::ranges::stable_sort(order, {}, [&group](std::size_t i) { return group.known[i]; });
        Group sorted{.begun = std::move(group.begun)};
        for (const std::size_t i : order) {
            sorted.known.push_back(group.known[i]);
            sorted.values.push_back(group.values[i]);
        }
        group = std::move(sorted);
    }
}

void History::derive(std::int64_t position, std::span<double> derived) const {
    const Row& row = rows_[static_cast<std::size_t>(position)];
    const Group& group = groups_[row.group];
    const std::span<const double> known{group.values.data(),
                                        static_cast<std::size_t>(count_before(group.known, row.now))};
    std::size_t next = 0;
    for (std::size_t back = 1; back <= static_cast<std::size_t>(history_.last); ++back) {
        derived[next++] = back <= known.size() ? known[known.size() - back] : nothing;
    }
    const auto recent = known.last(std::min(known.size(), static_cast<std::size_t>(history_.window)));
    std::vector<double> scratch;
    for (const HistoryStatistic statistic : history_.statistics) {
        derived[next++] = statistic_of(statistic, recent, scratch);
    }
    if (history_.outstanding) {
        derived[next++] = static_cast<double>(count_before(group.begun, row.now) - std::ssize(known));
    }
    if (history_.since_last) {
        derived[next++] = known.empty() ? nothing : row.now - group.known[known.size() - 1];
    }
}

Result<void> read_table(const std::filesystem::path& source,
                        const UsedColumns& columns,
                        const Settings& settings,
                        const std::function<Result<void>(const TextBlock&)>& take) {
    if (!columns.history) {
        return read_rows(source, columns.csv, columns.all(), settings, take);
    }
    const auto history = History::read(source, *columns.history, columns.csv, settings);
    if (!history) {
        return history.error();
    }
    DerivedCells cells{columns.derived.size()};
    std::int64_t position = 0;
    return read_rows(source, columns.csv, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
        if (position + block.rows > history->rows()) {
            return Error{ErrorCode::unavailable, "the file grew while it was read; try again", source.string()};
        }
        TextBlock whole{.first_row = block.first_row, .rows = block.rows, .columns = block.columns};
        cells.insert(whole, *history, position, columns.inputs.size());
        position += block.rows;
        return take(whole);
    });
}

} // namespace muster::data
