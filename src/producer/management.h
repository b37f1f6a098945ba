/// The operations of the MLT MnS on managed objects, below HTTP. Source: TS 28.532 11.1 (ProvMnS), TS 28.105.
#pragma once

#include "base/result.h"
#include "nrm/dn.h"
#include "nrm/tree.h"
#include "nrm/validate.h"

#include <string>
#include <vector>

namespace muster::producer {

/// Why a write was refused: one code, and one problem for each attribute concerned.
struct Refusal {
    ErrorCode code{ErrorCode::invalid_argument};
    std::string reason;
    nrm::Problems problems{};
};

/// What a write did.
enum class Effect { created, changed, unchanged, deleted };

/// Answer to a write: `body` is the object as stored ({"id","objectClass","attributes"}), `dn` its name.
struct WriteAnswer {
    Effect effect{Effect::unchanged};
    nrm::Json body{};
    std::string dn{};
    bool stored_differs{false}; ///< PUT: the stored result differs from what was sent
};

/// Either side of a write; `refusal.code` is meaningful when !ok.
struct WriteResult {
    bool ok{false};
    WriteAnswer answer{};
    Refusal refusal{};
};

/// The managed objects and what may be done with them. Safe from any thread; each call is one transaction.
/// `caller` is the authenticated and authorised principal's name, for audit and for policy by trainingRequestSource.
class ManagedObjects {
public:
    virtual ~ManagedObjects() = default;
    /// Creates or replaces. `body` = {"id", "objectClass", "attributes"}.
    virtual WriteResult put(const nrm::Dn& dn, const nrm::Json& body, const std::string& caller) = 0;
    /// Creates below `parent`; the producer assigns the id when `body` has none (null or absent).
    virtual WriteResult post(const nrm::Dn& parent, const nrm::Json& body, const std::string& caller) = 0;
    /// RFC 7396 on {"id", "objectClass", "attributes"}.
    virtual WriteResult merge_patch(const nrm::Dn& dn, const nrm::Json& patch, const std::string& caller) = 0;
    virtual WriteResult remove(const nrm::Dn& dn, const std::string& caller) = 0;
    /// Copies of the selected objects, parents first. Errors: not_found, when there is no object at `base`.
    virtual Result<std::vector<nrm::Object>> read(const nrm::Dn& base, const nrm::Scope& scope) = 0;
};

} // namespace muster::producer
