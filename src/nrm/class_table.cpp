#include "nrm/class_table.h"

#include "nrm/tables/types.h"
#include "nrm/value_check.h"

#include <algorithm>
#include <string>
#include <vector>

namespace muster::nrm {
namespace {

std::vector<ClassRow> all_classes() {
    std::vector<ClassRow> all;
    for (const auto family : {tables::generic_classes(),
                              tables::training_classes(),
                              tables::model_classes(),
                              tables::subscription_classes()}) {
        all.insert(all.end(), family.begin(), family.end());
    }
    return all;
}

} // namespace

std::string_view name_of(AttributeType type) {
    switch (type) {
    case AttributeType::string:
        return "string";
    case AttributeType::integer:
        return "integer";
    case AttributeType::real:
        return "number";
    case AttributeType::boolean:
        return "boolean";
    case AttributeType::dn:
        return "distinguished name";
    case AttributeType::date_time:
        return "date-time (RFC 3339)";
    case AttributeType::enumeration:
        return "enumeration value";
    case AttributeType::structure:
        return "object";
    case AttributeType::map:
        return "map of names to values";
    case AttributeType::any:
        return "any value";
    }
    return "unknown";
}

std::span<const ClassRow> classes() {
    static const std::vector<ClassRow> all = all_classes();
    return all;
}

bool contains(std::string_view parent, const ClassRow& row) {
    return std::ranges::any_of(row.parents, [parent](std::string_view candidate) {
        return candidate == parent || (candidate == "*" && !parent.empty());
    });
}

Result<const ClassRow*> class_of(std::string_view name) {
    const auto all = classes();
    if (const auto found = std::ranges::find(all, name, &ClassRow::name); found != all.end()) {
        return &*found;
    }
    std::vector<std::string> names;
    for (const ClassRow& row : all) {
        names.emplace_back(row.name);
    }
    const std::string given = shortened(name);
    Error error = not_allowed("/objectClass", given, std::move(names));
    error.message = "unknown class \"" + given + "\"";
    return error;
}

} // namespace muster::nrm
