#include "nrm/validate.h"

#include "nrm/value_check.h"

#include <fmt/format.h>

#include <string>

namespace muster::nrm {
namespace {

const std::string root = "/attributes";

/// Returns the attribute's value, or nullptr when it is absent; null means absent, except where anything may stand.
const Json* given(const Json& attributes, const Attribute& row) {
    const auto found = attributes.find(row.name);
    if (found == attributes.end() || (found->is_null() && row.type != AttributeType::any)) {
        return nullptr;
    }
    return &*found;
}

bool is_attribute_set(const Json& attributes, Problems& problems) {
    if (!attributes.is_object()) {
        add_problem(
            problems,
            Error{ErrorCode::invalid_argument, fmt::format("expected object, got {}", attributes.type_name()), root});
    }
    return attributes.is_object();
}

void refuse_change(const Attribute& row, Problems& problems) {
    add_problem(problems,
                Error{ErrorCode::invalid_argument,
                      row.writable ? fmt::format("{} can be given at creation only and cannot be changed", row.name)
                                   : fmt::format("{} is read-only and cannot be changed", row.name),
                      pointer(root, row.name)});
}

/// Puts in what an attribute that is not given becomes: its default, or nothing.
void put_default(const ClassRow& row, const Attribute& attribute, Json& kept, Problems& problems) {
    if (Json put_in = default_of(attribute); !put_in.is_null()) {
        kept[std::string{attribute.name}] = std::move(put_in);
    } else if (attribute.writable && attribute.lower >= 1) {
        add_problem(problems,
                    Error{ErrorCode::invalid_argument,
                          fmt::format("{} needs {}", row.name, attribute.name),
                          pointer(root, attribute.name)});
    }
}

void put_given(const Attribute& attribute, const Json& value, Json& kept, Problems& problems) {
    kept[std::string{attribute.name}] =
        checked_value(attribute, value, pointer(root, attribute.name), Completeness::complete, problems);
}

bool fixed(const Attribute& attribute) {
    return !attribute.writable || attribute.invariant;
}

} // namespace

Json created(const ClassRow& row, const Json& attributes, Problems& problems) {
    Json kept = Json::object();
    if (!is_attribute_set(attributes, problems)) {
        return kept;
    }
    check_names(row.attributes, attributes, root, row.name, problems);
    for (const Attribute& attribute : row.attributes) {
        const Json* value = attribute.writable ? given(attributes, attribute) : nullptr;
        if (value != nullptr) {
            put_given(attribute, *value, kept, problems);
        } else {
            put_default(row, attribute, kept, problems);
        }
    }
    return kept;
}

Json replaced(const ClassRow& row, const Json& current, const Json& wanted, Problems& problems) {
    Json kept = Json::object();
    if (!is_attribute_set(wanted, problems)) {
        return current;
    }
    check_names(row.attributes, wanted, root, row.name, problems);
    for (const Attribute& attribute : row.attributes) {
        const Json* value = given(wanted, attribute);
        if (fixed(attribute)) {
            const Json* before = given(current, attribute);
            if (value != nullptr && (before == nullptr || *value != *before)) {
                refuse_change(attribute, problems);
            }
            if (before != nullptr) {
                kept[std::string{attribute.name}] = *before;
            }
        } else if (value != nullptr) {
            put_given(attribute, *value, kept, problems);
        } else {
            put_default(row, attribute, kept, problems);
        }
    }
    return kept;
}

Json merged(const ClassRow& row, const Json& current, const Json& patch, Problems& problems) {
    if (!is_attribute_set(patch, problems)) {
        return current;
    }
    check_names(row.attributes, patch, root, row.name, problems);
    Json kept = current;
    for (const Attribute& attribute : row.attributes) {
        const auto change = patch.find(attribute.name);
        if (change == patch.end()) {
            continue;
        }
        const std::string name{attribute.name};
        const Json before = current.contains(name) ? current.at(name) : Json{};
        Json after = before;
        after.merge_patch(*change);
        if (fixed(attribute)) {
            if (after != before) {
                refuse_change(attribute, problems);
            }
        } else if (change->is_null()) {
            kept.erase(name);
            put_default(row, attribute, kept, problems);
        } else {
            put_given(attribute, after, kept, problems);
        }
    }
    return kept;
}

void check_types(const ClassRow& row, const Json& attributes, Problems& problems) {
    if (!is_attribute_set(attributes, problems)) {
        return;
    }
    check_names(row.attributes, attributes, root, row.name, problems);
    for (const Attribute& attribute : row.attributes) {
        if (const Json* value = given(attributes, attribute); value != nullptr) {
            static_cast<void>(
                checked_value(attribute, *value, pointer(root, attribute.name), Completeness::as_given, problems));
        }
    }
}

} // namespace muster::nrm
