/// What a transaction did to managed objects: the source of notifications.
#pragma once

#include "nrm/dn.h"
#include "nrm/validate.h"

#include <vector>

namespace muster::producer {

/// Who caused a change: sourceIndicator of TS 28.532.
enum class Origin { consumer, producer };

enum class ChangeKind { created, changed, deleted };

/// One object's change.
struct Change {
    ChangeKind kind{ChangeKind::changed};
    nrm::Dn dn;
    nrm::Json before{}; ///< attributes; null when created
    nrm::Json after{};  ///< attributes; null when deleted
};

/// Creations and changes parents first, then deletions children first.
using Changes = std::vector<Change>;

} // namespace muster::producer
