#include "data/learn_table.h"

#include "data/history.h"
#include "data/source.h"

namespace muster::data {

Result<UsedColumns> columns_of(const std::filesystem::path& source, const Recipe& recipe, const Settings& settings) {
    const auto header = read_header(source, recipe.data.csv, settings);
    return header ? used_columns(recipe.data, *header) : Result<UsedColumns>{header.error()};
}

Result<Learner> learn_rows(const std::filesystem::path& train,
                           const Recipe& recipe,
                           const UsedColumns& columns,
                           const Settings& settings) {
    Learner learner{columns, recipe, settings, train.string()};
    auto read = read_table(train, columns, settings, [&](const TextBlock& block) -> Result<void> {
        learner.take(block);
        return {};
    });
    return read ? Result<Learner>{std::move(learner)} : Result<Learner>{std::move(read).error()};
}

} // namespace muster::data
