#include "model/capacity.h"

#include "base/pattern.h"

#include <algorithm>

namespace muster {

bool may_receive_rows(const DataSource& source, const std::string& to, const std::string& consumer) {
    return !source.pinned && std::ranges::any_of(source.rows_may_leave, [&](const RowGrant& grant) {
        return matches(grant.to, to) && matches(grant.consumer, consumer);
    });
}

} // namespace muster
