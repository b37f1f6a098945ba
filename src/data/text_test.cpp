#include "base/file.h"
#include "base/testing_text.h"
#include "data/folder_fixture.h"
#include "data/text.h"
#include "wire/preprocessing.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace muster::data {
namespace {

using Floats = std::vector<float>;

class Text : public FolderTest {
protected:
    static Recipe recipe(TextUnit unit) {
        Recipe made;
        made.name = "test";
        made.model.family = "transformer";
        made.loss = Loss::cross_entropy;
        made.data = {.source = "s", .target = text_target(unit), .text = RecipeText{unit, 4}};
        return made;
    }
    static std::vector<std::string> vocabulary_of(const Published& published) {
        const auto text = read_file(published.folder / "matrix.json");
        return wire::preprocessing_from_json(nlohmann::json::parse(*text).at("preprocessing"))->inputs.at(0).categories;
    }
    /// What is refused, and where.
    std::string refusal(const std::string& text, TextUnit unit, const std::string& test = {}) const {
        const auto made = encode(text, recipe(unit), test);
        return made ? "" : made.error().text();
    }
};

TEST_F(Text, becomes_the_numbers_of_its_characters_each_with_the_next_one_as_target) {
    const auto made = encode("abba", recipe(TextUnit::character));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.rows, 3);
    EXPECT_EQ(made->info.columns, 1);
    EXPECT_EQ(vocabulary_of(*made), (std::vector<std::string>{"a", "b", "\uFFFD"}));
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{0, 1, 1}));
    EXPECT_EQ(floats(made->folder / "train.target"), (Floats{1, 1, 0}));
}

TEST_F(Text, keeps_a_character_whole_that_two_pieces_share) {
    std::string text;
    for (int i = 0; i < 40; ++i) {
        text += i % 2 == 0 ? "é" : "€𝄞"; // 2, 3 and 4 bytes
    }
    const auto whole = encode(text, recipe(TextUnit::character));
    ASSERT_TRUE(whole) << whole.error().text();
    const auto expected = floats(whole->folder / "train.features");
    EXPECT_EQ(expected.size(), 59U);
    EXPECT_EQ(vocabulary_of(*whole), (std::vector<std::string>{"é", "€", "𝄞", "\uFFFD"}));
    for (const int bytes : {1, 2, 3, 5, 7}) {
        settings_.block_bytes = bytes;
        std::filesystem::remove_all(folder_ / "cache");
        const auto cut = encode(text, recipe(TextUnit::character));
        ASSERT_TRUE(cut) << cut.error().text();
        EXPECT_EQ(floats(cut->folder / "train.features"), expected) << bytes;
    }
}

TEST_F(Text, has_one_number_for_all_characters_that_training_did_not_see) {
    const auto made = encode("abab", recipe(TextUnit::character), "axb€");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.test_rows, 3);
    EXPECT_EQ(floats(made->folder / "test.features"), (Floats{0, 2, 1}));
    EXPECT_EQ(floats(made->folder / "test.target"), (Floats{2, 1, 2}));
}

TEST_F(Text, of_bytes_may_hold_anything) {
    const auto made = encode(std::string{"\x00\xff\x80z", 4}, recipe(TextUnit::byte));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(vocabulary_of(*made).size(), 256U);
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{0, 255, 128}));
    EXPECT_EQ(floats(made->folder / "train.target"), (Floats{255, 128, 'z'}));
}

TEST_F(Text, in_another_encoding_is_refused_with_the_place_and_the_remedy) {
    const auto refused = refusal("stra\xdf"
                                 "e",
                                 TextUnit::character);
    EXPECT_TRUE(has(refused, "train.csv: byte 5"));
    EXPECT_TRUE(has(refused, "iconv"));
    EXPECT_TRUE(has(refusal("ab",
                            TextUnit::character,
                            "a\xff"
                            "b"),
                    "test.csv: byte 2"));
    // Overlong, surrogate, beyond the last code point, cut off at the end.
    for (const char* wrong : {"ab\xc0\xaf", "ab\xe0\x80\x80", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\xe2\x82"}) {
        EXPECT_TRUE(has(refusal(wrong, TextUnit::character), "byte 3")) << wrong;
    }
}

TEST_F(Text, needs_two_tokens) {
    for (const char* text : {"", "a"}) {
        EXPECT_TRUE(has(refusal(text, TextUnit::character), "fewer than two tokens"));
        EXPECT_TRUE(has(refusal(text, TextUnit::byte), "fewer than two tokens"));
    }
    EXPECT_TRUE(has(refusal("ab", TextUnit::character, "a"), "fewer than two tokens"));
}

TEST_F(Text, of_too_many_characters_is_refused) {
    settings_.characters_max = 3;
    EXPECT_EQ(refusal("abcabc", TextUnit::character), "");
    EXPECT_TRUE(has(refusal("abcdabc", TextUnit::character), "more than 3 different characters"));
}

TEST_F(Text, larger_than_the_limit_is_refused) {
    settings_.matrix_bytes_max = 8;
    EXPECT_TRUE(has(refusal("abcd", TextUnit::byte), "exceed the limit of 8 bytes"));
}

TEST_F(Text, of_one_file_is_encoded_again_for_another_unit) {
    const auto characters = encode("abba", recipe(TextUnit::character));
    const auto bytes = encode("abba", recipe(TextUnit::byte));
    ASSERT_TRUE(characters);
    ASSERT_TRUE(bytes);
    EXPECT_NE(characters->folder, bytes->folder);
    auto longer = recipe(TextUnit::byte);
    longer.data.text->sequence = 2;
    EXPECT_EQ(encode("abba", longer)->folder, bytes->folder) << "the length of a sample is no matter of the file";
}

} // namespace
} // namespace muster::data
