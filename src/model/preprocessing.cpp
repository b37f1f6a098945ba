#include "model/preprocessing.h"

namespace muster {

std::int64_t encoded_columns(const InputColumn& input) {
    const std::int64_t flag = input.missing_flag ? 1 : 0;
    switch (input.kind) {
    case ColumnKind::category:
        return std::ssize(input.categories) + flag;
    case ColumnKind::date:
        return static_cast<std::int64_t>(date_columns) + flag;
    case ColumnKind::number:
    case ColumnKind::token:
        break;
    }
    return 1 + flag;
}

std::int64_t Preprocessing::encoded_columns() const {
    std::int64_t columns = 0;
    for (const InputColumn& input : inputs) {
        columns += muster::encoded_columns(input);
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
