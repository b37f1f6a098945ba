#include "model/preprocessing.h"

namespace muster {

std::int64_t Preprocessing::encoded_columns() const {
    std::int64_t columns = 0;
    for (const InputColumn& input : inputs) {
        columns += input.kind == ColumnKind::category ? static_cast<std::int64_t>(input.categories.size()) : 1;
        columns += input.missing_flag ? 1 : 0;
    }
    return columns;
}

bool Preprocessing::reads_text() const {
    return inputs.size() == 1 && inputs.front().kind == ColumnKind::token;
}

std::int64_t Preprocessing::outputs() const {
    if (reads_text()) {
        return static_cast<std::int64_t>(inputs.front().categories.size());
    }
    const auto classes = static_cast<std::int64_t>(target.categories.size());
    return target.kind == ColumnKind::category && classes > 2 ? classes : 1;
}

} // namespace muster
