#include "data/gather.h"

#include "data/learn_table.h"

namespace muster::data {

Result<TableStatistics> gather(const std::filesystem::path& train,
                               const Recipe& recipe,
                               std::int64_t group_rows_min,
                               const Settings& settings) {
    const auto columns = columns_of(train, recipe, settings);
    if (!columns) {
        return columns.error();
    }
    const auto learner = learn_rows(train, recipe, *columns, settings);
    if (!learner) {
        return learner.error();
    }
    auto statistics = learner->statistics(group_rows_min);
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
