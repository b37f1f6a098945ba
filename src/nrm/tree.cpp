#include "nrm/tree.h"

#include "base/assert.h"
#include "nrm/json_text.h"
#include "nrm/value_check.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace muster::nrm {
namespace {

constexpr std::array<std::pair<std::string_view, ScopeType>, 4> scope_types{{
    {"BASE_ONLY", ScopeType::base_only},
    {"BASE_ALL", ScopeType::base_all},
    {"BASE_NTH_LEVEL", ScopeType::base_nth_level},
    {"BASE_SUBTREE", ScopeType::base_subtree},
}};

Result<ScopeType> scope_type_of(const std::string& name) {
    std::vector<std::string> names;
    for (const auto& [known, type] : scope_types) {
        if (known == name) {
            return type;
        }
        names.emplace_back(known);
    }
    return not_allowed("/scopeType", shortened(name), std::move(names));
}

Error wrong(std::string where, std::string message) {
    return Error{ErrorCode::invalid_argument, std::move(message), std::move(where)};
}

Result<Scope> checked_scope(ScopeType type, std::optional<std::int64_t> level) {
    const bool needs_level = type == ScopeType::base_nth_level || type == ScopeType::base_subtree;
    if (!needs_level) {
        return Scope{type, 0};
    }
    if (!level) {
        return wrong("/scopeLevel", "BASE_NTH_LEVEL and BASE_SUBTREE need a scopeLevel");
    }
    if (*level < 0 || *level > static_cast<std::int64_t>(dn_depth_max)) {
        return wrong("/scopeLevel", fmt::format("expected 0 to {}, got {}", dn_depth_max, *level));
    }
    return Scope{type, static_cast<int>(*level)};
}

Json naming_of(const Rdn& leaf, const std::string& dn) {
    return Json{{"id", leaf.id}, {"objectClass", leaf.class_name}, {"objectInstance", dn}};
}

/// Returns the entry for `child` in `parent`, made when it is not there. Objects come in order, so it can only be last.
Json& entry_of(Json& parent, const Dn& child) {
    Json& siblings = parent[child.leaf().class_name];
    if (siblings.is_null()) {
        siblings = Json::array();
    }
    if (siblings.empty() || siblings.back().at("id") != child.leaf().id) {
        siblings.push_back(naming_of(child.leaf(), child.text()));
    }
    return siblings.back();
}

} // namespace

Result<Scope> scope_of(const Json& scope) {
    if (!scope.is_object()) {
        return wrong("", fmt::format("expected an object with scopeType and scopeLevel, got {}", scope.type_name()));
    }
    for (const auto& [name, unused] : scope.items()) {
        if (name == "dataNodeSelector") {
            return wrong("/dataNodeSelector", "not supported; use scopeType and scopeLevel");
        }
        if (name != "scopeType" && name != "scopeLevel") {
            return not_allowed(pointer("", shortened(name)), shortened(name), {"scopeType", "scopeLevel"});
        }
    }
    ScopeType type = ScopeType::base_only;
    if (const auto found = scope.find("scopeType"); found != scope.end()) {
        if (!found->is_string()) {
            return wrong("/scopeType", fmt::format("expected string, got {}", found->type_name()));
        }
        auto known = scope_type_of(found->get_ref<const std::string&>());
        if (!known) {
            return std::move(known).error();
        }
        type = *known;
    }
    std::optional<std::int64_t> level;
    if (const auto found = scope.find("scopeLevel"); found != scope.end()) {
        if (!found->is_number_integer()) {
            return wrong("/scopeLevel", fmt::format("expected integer, got {}", found->type_name()));
        }
        // An unsigned number beyond int64 wraps to a negative one, which is refused as well.
        level = found->get<std::int64_t>();
    }
    return checked_scope(type, level);
}

Result<Scope>
parse_scope(const std::string& scope_type, const std::string& scope_level, const std::string& scope_json) {
    if (!scope_json.empty()) {
        if (!scope_type.empty() || !scope_level.empty()) {
            return wrong("scope", "give either scope or scopeType and scopeLevel");
        }
        auto json = parse_json(scope_json);
        if (!json) {
            return std::move(json).error().within("scope");
        }
        auto scope = scope_of(*json);
        return scope ? scope : Result<Scope>{std::move(scope).error().within("scope")};
    }
    Json exploded = Json::object();
    if (!scope_type.empty()) {
        exploded["scopeType"] = scope_type;
    }
    if (!scope_level.empty()) {
        std::int64_t level{};
        const char* end = scope_level.data() + scope_level.size();
        const auto [stop, code] = std::from_chars(scope_level.data(), end, level);
        if (code != std::errc{} || stop != end) {
            return wrong("/scopeLevel", fmt::format("expected integer, got \"{}\"", shortened(scope_level)));
        }
        exploded["scopeLevel"] = level;
    }
    return scope_of(exploded);
}

bool selects(const Scope& scope, const Dn& base, const Dn& dn) {
    if (!dn.within(base)) {
        return false;
    }
    const auto below = static_cast<int>(dn.depth() - base.depth());
    switch (scope.type) {
    case ScopeType::base_only:
        return below == 0;
    case ScopeType::base_all:
        return true;
    case ScopeType::base_nth_level:
        return below == scope.level;
    case ScopeType::base_subtree:
        return below <= scope.level;
    }
    return false;
}

std::vector<const Object*> select(const Objects& objects, const Dn& base, const Scope& scope) {
    std::vector<const Object*> selected;
    // A subtree is contiguous in the order of names.
    for (auto at = objects.lower_bound(base); at != objects.end() && at->first.within(base); ++at) {
        if (selects(scope, base, at->first)) {
            selected.push_back(&at->second);
        }
    }
    return selected;
}

Json to_json(const Object& object) {
    Json json = naming_of(object.dn.leaf(), object.dn.text());
    json["attributes"] = object.attributes.is_null() ? Json::object() : object.attributes;
    return json;
}

Json to_hierarchy(const std::vector<const Object*>& selected, const Dn& base) {
    if (selected.empty()) {
        return {};
    }
    Json tree = naming_of(base.leaf(), base.text());
    for (const Object* object : selected) {
        MUSTER_ASSERT(object->dn.within(base));
        Json* entry = &tree;
        Dn at = base;
        for (std::size_t i = base.depth(); i < object->dn.depth(); ++i) {
            const Rdn& rdn = object->dn.components()[i];
            at = at.child(rdn.class_name, rdn.id);
            entry = &entry_of(*entry, at);
        }
        (*entry)["attributes"] = to_json(*object).at("attributes");
    }
    return tree;
}

Json to_flat(const std::vector<const Object*>& selected) {
    Json list = Json::array();
    for (const Object* object : selected) {
        list.push_back(to_json(*object));
    }
    return list;
}

} // namespace muster::nrm
