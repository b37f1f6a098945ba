#include "nrm/dn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace muster::nrm {
namespace {

Dn dn(std::string_view text) {
    return Dn::parse(text).value();
}

TEST(Dn, reads_and_writes_both_forms) {
    const Dn name = dn("SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1");
    EXPECT_EQ(name.depth(), 3U);
    EXPECT_EQ(name.leaf().class_name, "MLTrainingFunction");
    EXPECT_EQ(name.leaf().id, "1");
    EXPECT_EQ(name.text(), "SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1");
    EXPECT_EQ(name.path(), "SubNetwork=1/ManagedElement=gnb-1/MLTrainingFunction=1");
    EXPECT_EQ(Dn::from_path("/" + name.path()).value(), name);
    EXPECT_EQ(name.parent().text(), "SubNetwork=1,ManagedElement=gnb-1");
    EXPECT_EQ(name.parent().child("MLTrainingFunction", "1"), name);
}

TEST(Dn, refuses_what_is_not_a_name) {
    const std::vector<std::pair<std::string, std::string>> bad{
        {"", "is not of the form Class=id"},
        {"SubNetwork", "\"SubNetwork\" is not of the form Class=id"},
        {"SubNetwork=", "the id is empty"},
        {"=1", "does not begin with a class name"},
        {"Sub Network=1", "does not begin with a class name"},
        {"9Network=1", "does not begin with a class name"},
        {"SubNetwork=1,", "\"\" is not of the form Class=id"},
        {"SubNetwork=1,,ManagedElement=2", "\"\" is not of the form Class=id"},
        {"SubNetwork=1, ManagedElement=2", "does not begin with a class name"},
        {"SubNetwork=a=b", "'=' in an id needs a backslash"},
        {"SubNetwork=a\\", "a backslash must stand before"},
        {"SubNetwork=a\\b", "a backslash must stand before"},
        {"SubNetwork=a\nb", "control character"},
        {std::string{"SubNetwork=a\0b", 14}, "control character"},
        {"SubNetwork=\xC0\xAF", "not UTF-8"},
        {"SubNetwork=\xED\xA0\x80", "not UTF-8"},
        {"SubNetwork=\xE2\x82", "not UTF-8"},
        {"SubNetwork=" + std::string(256, 'a'), "at most 255 bytes"},
        {std::string(65, 'a') + "=1", "does not begin with a class name"},
    };
    for (const auto& [text, message] : bad) {
        const auto parsed = Dn::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
        EXPECT_NE(parsed.error().message.find(message), std::string::npos) << parsed.error().message;
    }
    std::string deep = "SubNetwork=1";
    for (std::size_t i = 0; i < dn_depth_max; ++i) {
        deep += ",SubNetwork=1";
    }
    EXPECT_FALSE(Dn::parse(deep));
}

TEST(Dn, refuses_bad_paths) {
    for (const char* path : {"",
                             "/",
                             "//SubNetwork=1",
                             "SubNetwork=1/",
                             "SubNetwork=%",
                             "SubNetwork=%4",
                             "SubNetwork=%zz",
                             "SubNetwork=%00",
                             "SubNetwork=%ff",
                             "..",
                             "SubNetwork=1/../SubNetwork=2"}) {
        EXPECT_FALSE(Dn::from_path(path)) << path;
    }
}

TEST(Dn, keeps_any_id_through_both_forms) {
    std::mt19937 random{7};
    const std::vector<std::string> letters{"a", "Z", "0", "-",  ".",  "_", " ", ",", "=", "+",  "<",
                                           ">", "#", ";", "\\", "\"", "/", "%", "?", "é", "漢", "😀"};
    for (int round = 0; round < 500; ++round) {
        Dn name = dn("SubNetwork=1");
        const auto depth = 1 + random() % 4;
        for (std::size_t level = 0; level < depth; ++level) {
            std::string id;
            const auto length = 1 + random() % 12;
            for (std::size_t i = 0; i < length; ++i) {
                id += letters[random() % letters.size()];
            }
            name = name.child("Class" + std::to_string(level), id);
        }
        ASSERT_EQ(dn(name.text()), name) << name.text();
        ASSERT_EQ(Dn::from_path(name.path()).value(), name) << name.path();
    }
}

TEST(Dn, order_keeps_a_subtree_together_with_parents_first) {
    std::mt19937 random{11};
    std::set<Dn> names;
    for (int i = 0; i < 300; ++i) {
        Dn name = dn("SubNetwork=1");
        const auto depth = random() % 5;
        for (std::size_t level = 0; level < depth; ++level) {
            name = name.child(random() % 2 == 0 ? "A" : "AB",
                              std::to_string(random() % 4) + (random() % 3 == 0 ? "-x" : ""));
        }
        names.insert(name);
    }
    for (const Dn& base : names) {
        auto at = names.lower_bound(base);
        EXPECT_EQ(*at, base);
        while (at != names.end() && at->within(base)) {
            ++at;
        }
        EXPECT_TRUE(std::none_of(at, names.end(), [&base](const Dn& later) { return later.within(base); }));
    }
}

TEST(Dn, is_within_itself_and_its_ancestors_only) {
    EXPECT_TRUE(dn("SubNetwork=1,ManagedElement=2").within(dn("SubNetwork=1")));
    EXPECT_TRUE(dn("SubNetwork=1").within(dn("SubNetwork=1")));
    EXPECT_FALSE(dn("SubNetwork=1").within(dn("SubNetwork=1,ManagedElement=2")));
    EXPECT_FALSE(dn("SubNetwork=10").within(dn("SubNetwork=1")));
}

TEST(ShortName, is_the_managed_element_or_the_last_component) {
    EXPECT_EQ(short_name("SubNetwork=1,ManagedElement=gnb-1,MLTrainingFunction=1"), "gnb-1");
    EXPECT_EQ(short_name("SubNetwork=1,ManagedElement=gnb-1"), "gnb-1");
    EXPECT_EQ(short_name("SubNetwork=1,MLTrainingFunction=mlt"), "MLTrainingFunction=mlt");
    EXPECT_EQ(short_name("alone"), "alone");
    EXPECT_EQ(short_name(""), "");
}

} // namespace
} // namespace muster::nrm
