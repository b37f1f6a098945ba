#include "base/file.h"
#include "data/folder_fixture.h"
#include "data/source.h"

#include <gtest/gtest.h>

namespace muster::data {
namespace {

/// Sources of several files.
class Sources : public FolderTest {
protected:
    std::filesystem::path folder(const std::vector<std::pair<std::string, std::string>>& files) const {
        std::filesystem::create_directories(folder_ / "source");
        for (const auto& [name, content] : files) {
            write("source/" + name, content);
        }
        return folder_ / "source";
    }
    Result<Published> encode_folder(const Recipe& how = recipe()) const {
        return prepare({.train = folder_ / "source", .test = {}, .recipe = how}, folder_ / "cache", settings_);
    }
};

TEST_F(Sources, of_several_files_are_one_table_in_the_order_of_their_names) {
    folder({{"b.csv", "x,y\n3,30\n"},
            {"a.csv", "y;x\n10;1\n20;2\n"},
            {".hidden", "no table"},
            {"_half.csv", "x,y\n9"},
            {"c.csv", "x,y\n4,40"}});
    std::filesystem::create_directory(folder_ / "source" / "more");
    const auto made = encode_folder();
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.target"), (std::vector<float>{10, 20, 30, 40}));
    const auto whole = encode("x,y\n1,10\n2,20\n3,30\n4,40\n", recipe());
    EXPECT_EQ(made->info.digest, whole->info.digest) << "the same rows, the same matrix";
}

TEST_F(Sources, with_a_new_file_are_read_again) {
    folder({{"a.csv", "x,y\n1,10\n2,20\n"}});
    const auto before = encode_folder();
    ASSERT_TRUE(before) << before.error().text();
    EXPECT_EQ(encode_folder()->info.encode_seconds, 0) << "from the cache";
    write("source/b.csv", "x,y\n3,30\n");
    const auto after = encode_folder();
    ASSERT_TRUE(after) << after.error().text();
    EXPECT_EQ(after->info.rows, 3);
}

TEST_F(Sources, name_the_file_and_its_row) {
    folder({{"a.csv", "x,y\n1,10\n2,20\n"}, {"b.csv", "x,y\n3,30\n4,much\n"}, {"c.csv", "x,y\n5,50\n"}});
    const auto refused = encode_folder();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().where, (folder_ / "source/b.csv").string() + ": row 3, column y");
    auto forecast = recipe();
    forecast.data.windows = RecipeWindows{.length = 2, .time = "x"};
    forecast.model.family = "gru";
    folder({{"b.csv", "x,y\n3,30\n1,40\n"}});
    const auto twice = encode_folder(forecast);
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().where, (folder_ / "source/b.csv").string() + ": row 3, column x");
    EXPECT_NE(twice.error().message.find("a.csv: row 2"), std::string::npos) << twice.error().text();
}

TEST_F(Sources, with_another_schema_are_refused_with_the_difference) {
    folder({{"a.csv", "x,y,load\n1,10,1\n"}, {"b.csv", "x,y,laod,z\n3,30,1,1\n"}});
    const auto refused = encode_folder();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().where, (folder_ / "source/b.csv").string());
    EXPECT_EQ(refused.error().message, "the columns are not those of a.csv: there is no load; laod, z is only here");
    EXPECT_EQ(refused.error().nearest, "laod");
}

TEST_F(Sources, without_files_or_of_another_kind_are_refused) {
    folder({{".hidden", "x,y\n1,10\n"}});
    EXPECT_NE(encode_folder().error().text().find("the folder has no files"), std::string::npos);
    EXPECT_EQ(prepare({.train = folder_ / "nothing", .test = {}, .recipe = recipe()}, folder_ / "cache", settings_)
                  .error()
                  .code,
              ErrorCode::not_found);
    EXPECT_FALSE(prepare({.train = "/dev/zero", .test = {}, .recipe = recipe()}, folder_ / "cache", settings_));
}

TEST_F(Sources, keep_their_limits_over_all_files) {
    folder({{"a.csv", "x,y\n1,10\n2,20\n"}, {"b.csv", "x,y\n3,30\n4,40\n"}});
    settings_.rows_max = 3;
    EXPECT_NE(encode_folder().error().text().find("more than 3 rows"), std::string::npos);
    settings_.rows_max = 4;
    settings_.source_bytes_max = 20;
    EXPECT_EQ(encode_folder().error().code, ErrorCode::resource_exhausted);
}

TEST_F(Sources, that_are_one_long_line_are_refused_before_they_fill_the_memory) {
    settings_.block_bytes = 1 << 12;
    const auto refused = encode("x,y\n" + std::string(1 << 20, '7') + ",1\n", recipe());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("row 2"), std::string::npos) << refused.error().text();
    EXPECT_NE(refused.error().text().find("does not end within 4096 bytes"), std::string::npos);
}

TEST_F(Sources, may_have_thousands_of_columns_up_to_a_limit) {
    std::string header = "y";
    std::string row = "1";
    for (int i = 0; i < 3000; ++i) {
        header += ",x" + std::to_string(i);
        row += "," + std::to_string(i % 7);
    }
    const auto made = encode(header + "\n" + row + "\n" + row + "\n", recipe());
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 3000);
    settings_.columns_max = 3000;
    EXPECT_EQ(encode(header + "\n" + row + "\n", recipe()).error().code, ErrorCode::resource_exhausted);
}

TEST_F(Sources, of_text_follow_one_another) {
    folder({{"1.txt", "ab"}, {"2.txt", "ba"}});
    auto how = recipe();
    how.data.text = RecipeText{.unit = TextUnit::character, .sequence = 2};
    how.data.target = "next_character";
    how.loss = Loss::cross_entropy;
    how.model.family = "transformer";
    const auto made = encode_folder(how);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.features"), (std::vector<float>{0, 1, 1}));
    EXPECT_EQ(floats(made->folder / "train.target"), (std::vector<float>{1, 1, 0}));
}

} // namespace
} // namespace muster::data
