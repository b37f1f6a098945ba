#include "data/folder_fixture.h"
#include "data/inspect.h"

#include <gtest/gtest.h>

namespace muster::data {
namespace {

using nlohmann::json;

class Inspection : public FolderTest {
protected:
    json look_at(const std::string& text, const std::string& target = "", const RecipeCsv& csv = {}) {
        auto found = inspect(write("table.csv", text), csv, target, settings_);
        EXPECT_TRUE(found) << found.error().text();
        return found ? *found : json{};
    }
};

TEST_F(Inspection, says_what_each_column_holds) {
    const json found = look_at("n;d;t;m;e;y\n1,5;2026-01-01;a;1;;3\n-2;2026-01-02;b;x;;-4\n?;;a;2;;-4\n", "y");
    EXPECT_EQ(found["rows"], 3);
    EXPECT_EQ(found["files"], 1);
    EXPECT_EQ(found["kind"], "csv");
    EXPECT_EQ(found["csv"], json::parse(R"({"delimiter":";","decimal":",","encoding":"utf-8","header":true})"));
    const json& columns = found["columns"];
    const std::vector<std::string> kinds{"number", "date", "text", "mixed", "empty", "number"};
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        EXPECT_EQ(columns[i]["kind"], kinds[i]) << columns[i];
    }
    EXPECT_EQ(columns[0]["missing"], 1);
    EXPECT_EQ(columns[0]["min"], -2.0);
    EXPECT_EQ(columns[0]["max"], 1.5);
    EXPECT_EQ(columns[0]["whole"], false);
    EXPECT_EQ(columns[5]["whole"], true);
    EXPECT_NEAR(columns[0]["correlation"].get<double>(), 1.0, 1e-12) << "two rows lie on a line";
    EXPECT_FALSE(columns[5].contains("correlation")) << "the target with itself";
    EXPECT_EQ(columns[2]["examples"], (json{"a", "b"}));
    EXPECT_TRUE(columns[3]["first_text"].get<std::string>().ends_with("row 3, column m"));
    EXPECT_EQ(found["first_rows"][0][0], "1.5");
}

TEST_F(Inspection, tries_what_the_recipe_would_have_to_say) {
    const json found = look_at("1,r\xE9seau,3\n2,\xE9,4\n");
    EXPECT_EQ(found["csv"]["encoding"], "latin-1");
    EXPECT_EQ(found["notes"].size(), 1U);
    const json plain = look_at("1,2\n3,4\n");
    EXPECT_EQ(plain["csv"]["header"], false);
    EXPECT_EQ(plain["columns"][1]["name"], "column_2");
    EXPECT_EQ(plain["rows"], 2);
}

TEST_F(Inspection, keeps_no_more_texts_than_the_limit) {
    settings_.categories_max = 3;
    const json found = look_at("id\na\nb\nc\nd\ne\n");
    EXPECT_EQ(found["columns"][0]["categories"], nullptr);
    EXPECT_LE(found["columns"][0]["examples"].size(), 4U);
}

TEST_F(Inspection, refuses_what_cannot_be_read) {
    EXPECT_EQ(inspect(folder_ / "nothing", {}, "", settings_).error().code, ErrorCode::not_found);
    EXPECT_FALSE(inspect(write("ragged.csv", "a,b\n1,2\n3\n"), {}, "", settings_));
}

} // namespace
} // namespace muster::data
