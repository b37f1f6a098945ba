/// The managed objects as a tree: selection by scope, and the forms in which they are sent.
#pragma once

#include "base/result.h"
#include "nrm/dn.h"
#include "nrm/validate.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster::nrm {

/// A managed object instance.
struct Object {
    Dn dn;
    Json attributes;
    std::int64_t version{};
};

/// Source: TS 32.158 and TS28532_ProvMnS.yaml, Scope.
enum class ScopeType { base_only, base_all, base_nth_level, base_subtree };
struct Scope {
    ScopeType type{ScopeType::base_only};
    int level{0}; ///< below the base; for base_nth_level and base_subtree

    bool operator==(const Scope&) const = default;
};

/// Reads {"scopeType", "scopeLevel"}, as in a query and in NtfSubscriptionControl. BASE_NTH_LEVEL and BASE_SUBTREE need
/// a level. Errors: invalid_argument, with the JSON pointer within the scope.
[[nodiscard]] Result<Scope> scope_of(const Json& scope);

/// Parses the exploded form (scopeType, scopeLevel) or the JSON form; empty texts mean BASE_ONLY.
/// Errors: invalid_argument with the allowed values.
[[nodiscard]] Result<Scope>
parse_scope(const std::string& scope_type, const std::string& scope_level, const std::string& scope_json);

/// Says whether the object at `dn` is selected by `scope` from `base`: BASE_NTH_LEVEL selects exactly that level,
/// BASE_SUBTREE all down to and including it.
[[nodiscard]] bool selects(const Scope& scope, const Dn& base, const Dn& dn);

using Objects = std::map<Dn, Object>;

/// Returns the selected objects, parents first.
[[nodiscard]] std::vector<const Object*> select(const Objects& objects, const Dn& base, const Scope& scope);

/// {"id", "objectClass", "attributes", "objectInstance"} without children.
[[nodiscard]] Json to_json(const Object& object);
/// Hierarchical form: children nested in arrays by class name (application/vnd.3gpp.object-tree-hierarchical+json).
/// Objects between `base` and a selected one that are not selected themselves have only their naming members. Null when
/// nothing is selected. REQUIRES: `selected` in the order of select(), all within `base`
[[nodiscard]] Json to_hierarchy(const std::vector<const Object*>& selected, const Dn& base);
/// Flat form: an array (application/vnd.3gpp.object-tree-flat+json).
[[nodiscard]] Json to_flat(const std::vector<const Object*>& selected);

} // namespace muster::nrm
