#include "data/gather.h"

#include "data/history.h"
#include "data/learn.h"
#include "data/source.h"

namespace muster::data {

Result<TableStatistics> gather(const std::filesystem::path& train,
                               const Recipe& recipe,
                               std::int64_t group_rows_min,
                               const Settings& settings) {
    const auto header = read_header(train, recipe.data.csv, settings);
    if (!header) {
        return header.error();
    }
    const auto columns = used_columns(recipe.data, *header);
    if (!columns) {
        return columns.error();
    }
    Learner learner{*columns, recipe, settings, train.string()};
    auto read = read_table(train, *columns, settings, [&](const TextBlock& block) -> Result<void> {
        learner.take(block);
        return {};
    });
    if (!read) {
        return std::move(read).error();
    }
    auto statistics = learner.statistics(group_rows_min);
    if (!statistics) {
        return statistics;
    }
    auto kept = without_small_groups(std::move(*statistics), group_rows_min);
    if (!kept) {
        Error error = std::move(kept).error();
        error.where = train.string();
        return error;
    }
    return kept;
}

} // namespace muster::data
