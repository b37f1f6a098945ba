#include "nrm/tree.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster::nrm {
namespace {

Dn dn(std::string_view text) {
    return Dn::parse(text).value();
}

Objects sample() {
    Objects objects;
    for (const char* name : {"SubNetwork=1",
                             "SubNetwork=1,MLModelRepository=1",
                             "SubNetwork=1,MLModelRepository=1,MLModel=a",
                             "SubNetwork=1,MLModelRepository=1,MLModel=b",
                             "SubNetwork=1,MLTrainingFunction=mlt",
                             "SubNetwork=1,MLTrainingFunction=mlt,MLTrainingRequest=r1",
                             "SubNetwork=1,MLTrainingFunction=mlt,MLTrainingRequest=r1,VsDataContainer=options",
                             "SubNetwork=1,MLTrainingFunction=mlt,MLTrainingProcess=r1",
                             "SubNetwork=10"}) {
        objects.emplace(dn(name), Object{dn(name), Json{{"userLabel", name}}, 1});
    }
    return objects;
}

std::vector<std::string> names(const std::vector<const Object*>& selected) {
    std::vector<std::string> texts;
    for (const Object* object : selected) {
        texts.push_back(object->dn.text());
    }
    return texts;
}

TEST(Scope, reads_both_forms) {
    const std::vector<std::tuple<std::string, std::string, std::string, Scope>> good{
        {"", "", "", {ScopeType::base_only, 0}},
        {"BASE_ALL", "", "", {ScopeType::base_all, 0}},
        {"BASE_ONLY", "3", "", {ScopeType::base_only, 0}},
        {"BASE_NTH_LEVEL", "2", "", {ScopeType::base_nth_level, 2}},
        {"", "", R"({"scopeType": "BASE_SUBTREE", "scopeLevel": 1})", {ScopeType::base_subtree, 1}},
        {"", "", R"({"scopeType": "BASE_ALL"})", {ScopeType::base_all, 0}},
        {"", "", "{}", {ScopeType::base_only, 0}},
    };
    for (const auto& [type, level, json, scope] : good) {
        const auto parsed = parse_scope(type, level, json);
        ASSERT_TRUE(parsed) << type << level << json << parsed.error().text();
        EXPECT_EQ(*parsed, scope) << type << level << json;
    }
}

TEST(Scope, refuses_what_is_no_scope) {
    const std::vector<std::tuple<std::string, std::string, std::string, std::string>> bad{
        {"BASE_SUBTREES", "1", "", "BASE_SUBTREE"},
        {"BASE_NTH_LEVEL", "", "", "need a scopeLevel"},
        {"BASE_NTH_LEVEL", "-1", "", "0 to 32"},
        {"BASE_NTH_LEVEL", "1.5", "", "expected integer"},
        {"BASE_NTH_LEVEL", "99999999999999999999", "", "expected integer"},
        {"BASE_ALL", "", "{}", "either"},
        {"", "", "[", "line 1"},
        {"", "", "[]", "expected an object"},
        {"", "", R"({"scopeType": 1})", "expected string"},
        {"", "", R"({"scopeType": "BASE_SUBTREE", "scopeLevel": "1"})", "expected integer"},
        {"", "", R"({"scopeType": "BASE_SUBTREE", "scopeLevel": 18446744073709551615})", "0 to 32"},
        {"", "", R"({"scopetype": "BASE_ALL"})", "did you mean \"scopeType\""},
        {"", "", R"({"dataNodeSelector": "/"})", "not supported"},
    };
    for (const auto& [type, level, json, message] : bad) {
        const auto parsed = parse_scope(type, level, json);
        ASSERT_FALSE(parsed) << type << level << json;
        EXPECT_NE(parsed.error().text().find(message), std::string::npos) << parsed.error().text();
    }
}

TEST(Tree, selects_by_scope_with_parents_first) {
    const Objects objects = sample();
    const Dn base = dn("SubNetwork=1");
    EXPECT_EQ(names(select(objects, base, {})), std::vector<std::string>{"SubNetwork=1"});
    EXPECT_EQ(select(objects, base, {ScopeType::base_all, 0}).size(), 8U);
    EXPECT_EQ(names(select(objects, base, {ScopeType::base_nth_level, 1})),
              (std::vector<std::string>{"SubNetwork=1,MLModelRepository=1", "SubNetwork=1,MLTrainingFunction=mlt"}));
    EXPECT_EQ(select(objects, base, {ScopeType::base_subtree, 1}).size(), 3U);
    EXPECT_EQ(select(objects, base, {ScopeType::base_subtree, 0}).size(), 1U);
    EXPECT_TRUE(select(objects, dn("SubNetwork=2"), {ScopeType::base_all, 0}).empty());
}

TEST(Tree, select_agrees_with_selects) {
    const Objects objects = sample();
    for (const auto& [base, unused] : objects) {
        for (int level = 0; level < 4; ++level) {
            for (const ScopeType type :
                 {ScopeType::base_only, ScopeType::base_all, ScopeType::base_nth_level, ScopeType::base_subtree}) {
                std::size_t count = 0;
                for (const auto& [name, also_unused] : objects) {
                    count += selects({type, level}, base, name) ? 1U : 0U;
                }
                EXPECT_EQ(select(objects, base, {type, level}).size(), count) << base.text();
            }
        }
    }
}

TEST(Tree, nests_children_by_class_name) {
    const Objects objects = sample();
    const Dn base = dn("SubNetwork=1");
    const Json tree = to_hierarchy(select(objects, base, {ScopeType::base_all, 0}), base);
    EXPECT_EQ(tree.at("id"), "1");
    EXPECT_EQ(tree.at("objectClass"), "SubNetwork");
    EXPECT_EQ(tree.at("objectInstance"), "SubNetwork=1");
    EXPECT_EQ(tree.at("/MLModelRepository/0/MLModel/1/id"_json_pointer), "b");
    EXPECT_EQ(tree.at("/MLTrainingFunction/0/MLTrainingRequest/0/VsDataContainer/0/attributes/userLabel"_json_pointer),
              "SubNetwork=1,MLTrainingFunction=mlt,MLTrainingRequest=r1,VsDataContainer=options");
}

TEST(Tree, names_only_what_lies_between) {
    const Objects objects = sample();
    const Dn base = dn("SubNetwork=1");
    const Json tree = to_hierarchy(select(objects, base, {ScopeType::base_nth_level, 2}), base);
    EXPECT_FALSE(tree.contains("attributes"));
    EXPECT_FALSE(tree.at("/MLTrainingFunction/0"_json_pointer).contains("attributes"));
    EXPECT_TRUE(tree.at("/MLTrainingFunction/0/MLTrainingProcess/0"_json_pointer).contains("attributes"));
    EXPECT_EQ(tree.at("/MLModelRepository/0/MLModel"_json_pointer).size(), 2U);
    EXPECT_TRUE(to_hierarchy({}, base).is_null());
}

/// Turns the hierarchical form back into the flat one.
void flatten(const Json& node, Json& list) {
    Json self = Json::object();
    for (const auto& [name, value] : node.items()) {
        if (!value.is_array()) {
            self[name] = value;
        }
    }
    list.push_back(self);
    for (const auto& [name, value] : node.items()) {
        if (value.is_array()) {
            for (const Json& child : value) {
                flatten(child, list);
            }
        }
    }
}

TEST(Tree, both_forms_hold_the_same) {
    const Objects objects = sample();
    for (const auto& [base, unused] : objects) {
        const auto selected = select(objects, base, {ScopeType::base_all, 0});
        Json flattened = Json::array();
        flatten(to_hierarchy(selected, base), flattened);
        EXPECT_EQ(flattened, to_flat(selected));
    }
    EXPECT_EQ(to_flat({}), Json::array());
}

} // namespace
} // namespace muster::nrm
