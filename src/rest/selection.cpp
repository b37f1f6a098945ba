#include "rest/selection.h"

#include "rest/call.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>

namespace muster::rest {
namespace {

constexpr const char* plain_type = "application/json";
constexpr const char* hierarchical_type = "application/vnd.3gpp.object-tree-hierarchical+json";
constexpr const char* flat_type = "application/vnd.3gpp.object-tree-flat+json";
constexpr std::string_view attributes_pointer = "/attributes/";

std::vector<std::string> split(std::string_view list, char separator) {
    std::vector<std::string> items;
    while (!list.empty()) {
        const auto end = list.find(separator);
        if (end != 0) {
            items.emplace_back(list.substr(0, end));
        }
        list = end == std::string_view::npos ? std::string_view{} : list.substr(end + 1);
    }
    return items;
}

/// The q parameter of one media range, in thousandths.
int weight_of(std::string_view range) {
    const auto at = range.find("q=");
    if (at == std::string_view::npos) {
        return 1000;
    }
    double weight = 1.0;
    const auto text = range.substr(at + 2);
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), weight);
    return problem == std::errc{} && weight >= 0.0 && weight <= 1.0 ? static_cast<int>(weight * 1000.0) : 0;
}

std::optional<ObjectForm> form_of(const std::string& type) {
    if (type == hierarchical_type) {
        return ObjectForm::hierarchical;
    }
    if (type == flat_type) {
        return ObjectForm::flat;
    }
    return type == plain_type || type == "*/*" || type == "application/*" ? std::optional{ObjectForm::json}
                                                                          : std::nullopt;
}

Json kept(const Selection& selection, const Json& attributes, bool& found) {
    Json result = Json::object();
    if (selection.attributes) {
        for (const auto& name : *selection.attributes) {
            if (attributes.contains(name)) {
                result[name] = attributes[name];
                found = true;
            }
        }
    }
    if (selection.fields) {
        for (const auto& field : *selection.fields) {
            const Json::json_pointer inside{field.substr(attributes_pointer.size() - 1)};
            if (attributes.contains(inside)) {
                result[inside] = attributes[inside];
                found = true;
            }
        }
    }
    return result;
}

/// Checks that a field is a JSON pointer below /attributes.
Result<void> check_field(const std::string& field) {
    const auto wrong = [&](const char* why) {
        return Error{ErrorCode::invalid_argument, "'" + field + "' " + why, "fields"};
    };
    if (!field.starts_with(attributes_pointer)) {
        return wrong("is not a JSON pointer that starts with /attributes/");
    }
    // The library says only by an exception that a pointer is malformed, so what RFC 6901 asks is checked here.
    for (std::size_t at = field.find('~'); at != std::string::npos; at = field.find('~', at + 1)) {
        if (at + 1 >= field.size() || (field[at + 1] != '0' && field[at + 1] != '1')) {
            return wrong("has a '~' that is followed by neither 0 nor 1");
        }
    }
    return {};
}

} // namespace

Result<Selection> parse_selection(const Request& request) {
    static const std::vector<std::string> known{"scope", "scopeType", "scopeLevel", "attributes", "fields"};
    for (const auto& [name, value] : request.query) {
        if (name == "filter" || name == "dataNodeSelector") {
            return Error{ErrorCode::invalid_argument, "is not supported; select with scope", name, known};
        }
        if (std::ranges::find(known, name) == known.end()) {
            return not_allowed(name, name, known);
        }
    }
    const auto text = [&](const char* name) {
        const auto found = request.query.find(name);
        return found == request.query.end() ? std::string{} : found->second;
    };
    auto scope = nrm::parse_scope(text("scopeType"), text("scopeLevel"), text("scope"));
    if (!scope) {
        auto error = std::move(scope).error();
        error.where = error.where.starts_with("/") ? error.where.substr(1) : error.where;
        error.where = error.where.empty() ? "scope" : error.where;
        return error;
    }
    Selection selection{*scope};
    if (request.query.contains("attributes")) {
        selection.attributes = split(text("attributes"), ',');
    }
    if (request.query.contains("fields")) {
        selection.fields = split(text("fields"), ',');
        for (const auto& field : *selection.fields) {
            if (auto good = check_field(field); !good) {
                return std::move(good).error();
            }
        }
    }
    return selection;
}

std::optional<ObjectForm> accepted_form(std::string_view accept) {
    if (accept.empty()) {
        return ObjectForm::json;
    }
    std::optional<ObjectForm> best;
    int best_weight = 0;
    for (const auto& range : split(accept, ',')) {
        const auto form = form_of(media_type_of(range));
        const int weight = weight_of(range);
        if (form && weight > best_weight) {
            best = form;
            best_weight = weight;
        }
    }
    return best;
}

const char* media_type_of(ObjectForm form) {
    switch (form) {
    case ObjectForm::hierarchical:
        return hierarchical_type;
    case ObjectForm::flat:
        return flat_type;
    case ObjectForm::json:
        break;
    }
    return plain_type;
}

bool keep_selected(const Selection& selection, std::vector<nrm::Object>& objects) {
    if (!selection.attributes && !selection.fields) {
        return true;
    }
    const bool asks_nothing =
        (!selection.attributes || selection.attributes->empty()) && (!selection.fields || selection.fields->empty());
    bool found = asks_nothing; // an empty list asks for the ids alone
    for (auto& object : objects) {
        object.attributes = kept(selection, object.attributes, found);
    }
    return found;
}

} // namespace muster::rest
