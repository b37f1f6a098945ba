#include "nrm/class_table.h"
#include "nrm/value_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace muster::nrm {
namespace {

void check_rows(std::span<const Attribute> rows, const std::string& owner) {
    std::set<std::string_view> names;
    for (const Attribute& row : rows) {
        const std::string name = owner + "." + std::string{row.name};
        EXPECT_TRUE(names.insert(row.name).second) << name;
        EXPECT_EQ(row.type == AttributeType::enumeration, !row.values.empty()) << name;
        EXPECT_EQ(row.type == AttributeType::structure, !row.members.empty()) << name;
        EXPECT_TRUE(!row.unique || row.list) << name;
        EXPECT_TRUE(!row.invariant || row.writable) << name;
        if (!row.default_json.empty()) {
            Problems problems;
            static_cast<void>(checked_value(row, default_of(row), "", Completeness::complete, problems));
            EXPECT_TRUE(problems.empty()) << name;
        }
        check_rows(row.members, name);
    }
}

TEST(ClassTable, is_consistent) {
    for (const ClassRow& row : classes()) {
        check_rows(row.attributes, std::string{row.name});
        EXPECT_FALSE(row.parents.empty()) << row.name;
        for (const std::string_view parent : row.parents) {
            EXPECT_TRUE(parent.empty() || parent == "*" || class_of(parent)) << row.name;
        }
    }
}

TEST(ClassTable, finds_classes_and_names_the_nearest) {
    EXPECT_EQ(class_of("MLTrainingRequest").value()->name, "MLTrainingRequest");
    const auto wrong = class_of("MLTrainingRequst");
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().nearest, "MLTrainingRequest");
    EXPECT_EQ(wrong.error().allowed.size(), classes().size());
}

TEST(ClassTable, knows_what_may_contain_what) {
    const auto may = [](std::string_view parent, std::string_view child) {
        return contains(parent, **class_of(child));
    };
    EXPECT_TRUE(may("", "SubNetwork"));
    EXPECT_TRUE(may("SubNetwork", "MLTrainingFunction"));
    EXPECT_TRUE(may("MLTrainingFunction", "MLTrainingRequest"));
    EXPECT_TRUE(may("MLTrainingProcess", "VsDataContainer"));
    EXPECT_FALSE(may("", "VsDataContainer"));
    EXPECT_FALSE(may("SubNetwork", "MLTrainingRequest"));
    EXPECT_FALSE(may("MLTrainingRequest", "MLTrainingRequest"));
}

} // namespace
} // namespace muster::nrm
