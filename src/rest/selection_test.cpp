#include "rest/selection.h"

#include <gtest/gtest.h>

namespace muster::rest {
namespace {

Request asking(std::map<std::string, std::string, std::less<>> query) {
    return {.method = "GET", .path = "/", .query = std::move(query)};
}

TEST(Selection, reads_scope_in_both_forms) {
    const auto exploded = parse_selection(asking({{"scopeType", "BASE_SUBTREE"}, {"scopeLevel", "2"}}));
    ASSERT_TRUE(exploded.ok()) << exploded.error().text();
    EXPECT_EQ(exploded->scope.type, nrm::ScopeType::base_subtree);
    const auto json = parse_selection(asking({{"scope", R"({"scopeType":"BASE_SUBTREE","scopeLevel":2})"}}));
    ASSERT_TRUE(json.ok()) << json.error().text();
    EXPECT_EQ(json->scope.level, exploded->scope.level);
}

TEST(Selection, refuses_what_it_does_not_know) {
    for (const auto& query :
         std::vector<std::map<std::string, std::string, std::less<>>>{{{"scopeTyp", "BASE_ALL"}},
                                                                      {{"scopeType", "ALL"}},
                                                                      {{"scope", "{"}},
                                                                      {{"filter", "//a"}},
                                                                      {{"fields", "status"}},
                                                                      {{"fields", "/attributes/~2"}}}) {
        const auto selection = parse_selection(asking(query));
        ASSERT_FALSE(selection.ok()) << query.begin()->first;
        EXPECT_FALSE(selection.error().where.empty()) << query.begin()->first;
    }
}

TEST(Selection, chooses_the_form_by_accept) {
    EXPECT_EQ(accepted_form(""), ObjectForm::json);
    EXPECT_EQ(accepted_form("text/html, */*;q=0.1"), ObjectForm::json);
    EXPECT_EQ(accepted_form("application/vnd.3gpp.object-tree-flat+json, application/json"), ObjectForm::flat);
    EXPECT_EQ(accepted_form("application/json;q=0.5,application/vnd.3gpp.object-tree-hierarchical+json"),
              ObjectForm::hierarchical);
    EXPECT_EQ(accepted_form("text/html"), std::nullopt);
    EXPECT_EQ(accepted_form("application/json;q=0"), std::nullopt);
}

TEST(Selection, keeps_only_what_was_asked_for) {
    const auto dn = nrm::Dn::parse("SubNetwork=1").value();
    std::vector<nrm::Object> objects{{dn, {{"a", 1}, {"b", {{"c", 2}, {"d", 3}}}}, 1}};
    auto some = objects;
    EXPECT_TRUE(keep_selected({{}, std::vector<std::string>{"a"}, {}}, some));
    EXPECT_EQ(some[0].attributes, (nrm::Json{{"a", 1}}));
    some = objects;
    EXPECT_TRUE(keep_selected({{}, {}, std::vector<std::string>{"/attributes/b/d"}}, some));
    EXPECT_EQ(some[0].attributes, (nrm::Json{{"b", {{"d", 3}}}}));
    some = objects;
    EXPECT_TRUE(keep_selected({{}, std::vector<std::string>{}, {}}, some)) << "an empty list asks for ids alone";
    EXPECT_TRUE(some[0].attributes.empty());
    some = objects;
    EXPECT_FALSE(keep_selected({{}, std::vector<std::string>{"x"}, {}}, some));
}

} // namespace
} // namespace muster::rest
