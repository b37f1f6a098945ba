/// muster_nrm_dump: the class tables and the checks of src/nrm as JSON, for the conformance tests.
///   muster_nrm_dump tables                 prints every class
///   muster_nrm_dump answer < questions     answers one question in JSON for each line:
///     {"do": "create", "class", "attributes"}            -> {"attributes", "problems"}
///     {"do": "check_types", "class", "attributes"}       -> {"problems"}
///     {"do": "hierarchy", "base", "scope", "objects": {dn: attributes}} -> the hierarchical form
#include "nrm/class_table.h"
#include "nrm/json_text.h"
#include "nrm/tree.h"
#include "nrm/validate.h"

#include <iostream>
#include <string>

namespace muster::nrm {
namespace {

Json describe(const Attribute& row) {
    Json json{{"name", row.name},
              {"type", name_of(row.type)},
              {"list", row.list},
              {"unique", row.unique},
              {"lower", row.lower},
              {"writable", row.writable},
              {"invariant", row.invariant},
              {"items_min", row.items_min},
              {"items_max", row.items_max},
              {"minimum", row.minimum ? Json(*row.minimum) : Json()},
              {"maximum", row.maximum ? Json(*row.maximum) : Json()},
              {"values", row.values},
              {"default", row.default_json.empty() ? Json() : Json::parse(row.default_json)}};
    json["members"] = Json::array();
    for (const Attribute& member : row.members) {
        json["members"].push_back(describe(member));
    }
    return json;
}

Json describe(const ClassRow& row) {
    Json json{{"name", row.name},
              {"parents", row.parents},
              {"consumer_creates", row.consumer_creates},
              {"consumer_deletes", row.consumer_deletes}};
    json["attributes"] = Json::array();
    for (const Attribute& attribute : row.attributes) {
        json["attributes"].push_back(describe(attribute));
    }
    return json;
}

Json texts(const Problems& problems) {
    Json list = Json::array();
    for (const Error& problem : problems) {
        list.push_back(problem.text());
    }
    return list;
}

Json hierarchy(const Json& question) {
    const Dn base = Dn::parse(question.at("base").get<std::string>()).value();
    Objects objects;
    for (const auto& [name, attributes] : question.at("objects").items()) {
        const Dn dn = Dn::parse(name).value();
        objects.emplace(dn, Object{dn, attributes, 1});
    }
    return to_hierarchy(select(objects, base, scope_of(question.at("scope")).value()), base);
}

Json answer(const Json& question) {
    const auto wanted = question.at("do").get<std::string>();
    if (wanted == "hierarchy") {
        return hierarchy(question);
    }
    const ClassRow& row = **class_of(question.at("class").get<std::string>());
    Problems problems;
    if (wanted == "create") {
        const Json kept = created(row, question.at("attributes"), problems);
        return Json{{"attributes", kept}, {"problems", texts(problems)}};
    }
    check_types(row, question.at("attributes"), problems);
    return Json{{"problems", texts(problems)}};
}

} // namespace

int run(const std::string& verb) {
    if (verb == "tables") {
        Json all = Json::array();
        for (const ClassRow& row : classes()) {
            all.push_back(describe(row));
        }
        std::cout << all.dump() << "\n";
        return 0;
    }
    if (verb != "answer") {
        std::cerr << "usage: muster_nrm_dump tables | answer\n";
        return 4;
    }
    for (std::string line; std::getline(std::cin, line);) {
        const auto question = parse_json(line, 64);
        if (!question) {
            std::cerr << question.error().text() << "\n";
            return 4;
        }
        std::cout << answer(*question).dump() << "\n";
    }
    return 0;
}

} // namespace muster::nrm

int main(int count, char** arguments) {
    return muster::nrm::run(count == 2 ? arguments[1] : "");
}
