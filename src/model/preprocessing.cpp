#include "model/preprocessing.h"

namespace muster {

std::int64_t Preprocessing::encoded_columns() const {
    std::int64_t columns = 0;
    for (const InputColumn& input : inputs) {
        columns += input.kind == ColumnKind::number ? 1 : static_cast<std::int64_t>(input.categories.size());
        columns += input.missing_flag ? 1 : 0;
    }
    return columns;
}

std::int64_t Preprocessing::outputs() const {
    const auto classes = static_cast<std::int64_t>(target.categories.size());
    return target.kind == ColumnKind::category && classes > 2 ? classes : 1;
}

} // namespace muster
