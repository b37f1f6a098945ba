#include "model/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace muster {

double NumberTransform::operator()(double value) const {
    constexpr double most = std::numeric_limits<double>::max();
    const double kept = std::min(std::max(value, low.value_or(-most)), high.value_or(most));
    return log ? std::copysign(std::log1p(std::abs(kept)), kept) : kept;
}

std::int64_t encoded_columns(const InputColumn& input) {
    const std::int64_t flag = input.missing_flag ? 1 : 0;
    switch (input.kind) {
    case ColumnKind::category:
        return input.raw ? 1 : std::ssize(input.categories) + (input.bucket ? 1 : 0) + flag;
    case ColumnKind::date:
        return static_cast<std::int64_t>(input.raw ? raw_date_columns : date_columns) + flag;
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

std::vector<MatrixPart> parts_of(const MatrixInfo& info) {
    constexpr auto number = static_cast<std::int64_t>(sizeof(float));
    std::vector<MatrixPart> parts{{"train.features", info.rows * info.columns * number},
                                  {"train.target", info.rows * number}};
    if (info.test_rows > 0) {
        parts.push_back({"test.features", info.test_rows * info.columns * number});
        parts.push_back({"test.target", info.test_rows * number});
    }
    return parts;
}

std::int64_t bytes_of(const MatrixInfo& info) {
    std::int64_t bytes = 0;
    for (const MatrixPart& part : parts_of(info)) {
        bytes += part.bytes;
    }
    return bytes;
}

} // namespace muster
