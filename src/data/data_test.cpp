#include "base/cell.h"
#include "base/file.h"
#include "data/folder_fixture.h"
#include "wire/preprocessing.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <thread>

namespace muster::data {
namespace {

using Floats = std::vector<float>;

class Encoding : public FolderTest {
protected:
    static Preprocessing learned(const Published& published) {
        const auto text = read_file(published.folder / "matrix.json");
        return *wire::preprocessing_from_json(nlohmann::json::parse(*text).at("preprocessing"));
    }
};

TEST(Cell, tells_numbers_text_and_missing_values_apart) {
    struct Case {
        const char* text;
        CellKind kind;
        double value;
    };
    for (const Case& each : {Case{"1", CellKind::number, 1},
                             Case{" -2.5e3\t", CellKind::number, -2500},
                             Case{"+7", CellKind::number, 7},
                             Case{"1e-999", CellKind::number, 0},
                             Case{"1e999", CellKind::not_finite, 0},
                             Case{"-inf", CellKind::not_finite, 0},
                             Case{"5C422503D", CellKind::text, 0},
                             Case{"1,5", CellKind::text, 0},
                             Case{"+-1", CellKind::text, 0},
                             Case{"0x10", CellKind::text, 0},
                             Case{"", CellKind::missing, 0},
                             Case{"  ", CellKind::missing, 0},
                             Case{"NaN", CellKind::missing, 0},
                             Case{" NULL ", CellKind::missing, 0},
                             Case{"n/a", CellKind::missing, 0},
                             Case{"?", CellKind::missing, 0},
                             Case{"nano", CellKind::text, 0}}) {
        const Cell cell = parse_cell(each.text);
        EXPECT_EQ(cell.kind, each.kind) << each.text;
        EXPECT_EQ(cell.value, each.value) << each.text;
        EXPECT_EQ(is_missing(each.text), each.kind == CellKind::missing) << each.text;
    }
}

TEST(Cell, has_the_double_that_is_nearest_to_its_digits) {
    std::uint64_t state = 1;
    const auto next = [&state] { return state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U; };
    for (int i = 0; i < 100'000; ++i) {
        std::string text = std::to_string(next() >> (next() % 60U));
        if (next() % 4 != 0) {
            text.insert(next() % (text.size() + 1), ".");
        }
        if (next() % 2 == 0) {
            text.insert(0, "-");
        }
        const Cell cell = parse_cell(text);
        ASSERT_EQ(cell.kind, CellKind::number) << text;
        ASSERT_EQ(cell.value, std::strtod(text.c_str(), nullptr)) << text;
    }
    for (const char* text : {".", "-", "-.", "1.2.3", "1-2", "--1"}) {
        EXPECT_NE(parse_cell(text).kind, CellKind::number) << text;
    }
}

TEST_F(Encoding, standardises_numbers_and_spreads_categories) {
    const auto made = encode("a,band,y\n1,n8,10\n3,n78,20\n", recipe(), "y,band,a\n5,n1,2\n6,n8,\n");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 3);
    EXPECT_EQ(made->info.rows, 2);
    EXPECT_EQ(made->info.test_rows, 2);
    EXPECT_GT(made->info.encode_seconds, 0);
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{-1, 0, 1, 1, 1, 0}));
    EXPECT_EQ(floats(made->folder / "train.target"), (Floats{10, 20}));
    // An unknown category is all zero; a missing number is the training mean; the test file's order does not matter.
    EXPECT_EQ(floats(made->folder / "test.features"), (Floats{0, 0, 0, 0, 0, 1}));
    EXPECT_EQ(floats(made->folder / "test.target"), (Floats{5, 6}));
    const auto how = learned(*made);
    EXPECT_EQ(how.inputs[1].categories, (std::vector<std::string>{"n78", "n8"}));
    EXPECT_EQ(how.target.mean, 15);
    EXPECT_EQ(how.target.scale, 5);
    EXPECT_EQ(how.target.median, 15);
}

TEST_F(Encoding, leaves_rows_of_boosted_trees_as_they_are) {
    auto how = recipe();
    how.data.clip = {{"a", 0, 100}};
    const auto scaled = encode("a,band,when,y\n-1,n8,1970-01-01T06:00,10\n3,n78,,20\n,,1970-01-08T12:00,30\n", how);
    ASSERT_TRUE(scaled) << scaled.error().text();
    how.model = {.family = "gbdt", .trees = RecipeTrees{}};
    const auto made = encode("a,band,when,y\n-1,n8,1970-01-01T06:00,10\n3,n78,,20\n,,1970-01-08T12:00,30\n", how);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_NE(made->folder, scaled->folder) << "another matrix in the cache";
    EXPECT_EQ(made->info.columns, 4);
    const Floats found = floats(made->folder / "train.features");
    const float none = std::nanf("");
    const Floats wanted{0, 1, 0.25F, 0.25F / 7, 3, 0, none, none, none, none, 0.5F, 0.5F / 7};
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_TRUE(found[i] == wanted[i] || (std::isnan(found[i]) && std::isnan(wanted[i]))) << i << ": " << found[i];
    }
    const auto learnt = learned(*made);
    EXPECT_TRUE(learnt.inputs[0].raw);
    EXPECT_FALSE(learnt.inputs[0].missing_flag);
    EXPECT_EQ(learnt.inputs[0].transform, (NumberTransform{.low = 0, .high = 100}));
    const auto test = encode("a,band,y\n1,n8,1\n2,n78,2\n", how, "a,band,y\n5,n1,2\n");
    ASSERT_TRUE(test) << test.error().text();
    EXPECT_TRUE(std::isnan(floats(test->folder / "test.features")[1])) << "a category that training did not see";
}

TEST_F(Encoding, shares_one_input_among_rare_categories_and_those_not_seen) {
    auto how = recipe();
    how.data.categories = RecipeCategories{.at_most = 1};
    const char* const train = "cell,y\na,1\nb,2\na,3\nc,4\n";
    const char* const test = "cell,y\nd,1\n,2\na,3\n";
    const auto made = encode(train, how, test);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{1, 0, 0, 1, 1, 0, 0, 1}));
    EXPECT_EQ(floats(made->folder / "test.features"), (Floats{0, 1, 0, 0, 1, 0}));
    EXPECT_TRUE(learned(*made).inputs[0].bucket);
    how.data.categories = RecipeCategories{.min_rows = 2};
    EXPECT_EQ(floats(encode(train, how, test)->folder / "test.features"), (Floats{0, 1, 0, 0, 1, 0}));
    how.model = {.family = "gbdt", .trees = RecipeTrees{}};
    EXPECT_EQ(floats(encode(train, how)->folder / "train.features"), (Floats{0, 1, 0, 1}));
}

TEST_F(Encoding, of_too_many_categories_says_what_to_do) {
    std::string text = "id,y\n";
    for (int i = 0; i < 600; ++i) {
        text += "name " + std::to_string(i % 300) + (i % 2 == 0 ? ",1\n" : ",2\n");
    }
    const auto refused = encode(text, recipe());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("categories: {at_most"), std::string::npos) << refused.error().text();
    auto how = recipe();
    how.data.categories = RecipeCategories{.at_most = 1000};
    EXPECT_NE(encode(text, how).error().text().find("300 categories"), std::string::npos);
    how.data.categories->at_most = 20;
    EXPECT_EQ(encode(text, how)->info.columns, 21);
}

TEST_F(Encoding, keeps_numbers_within_limits_and_takes_logarithms) {
    auto how = recipe();
    how.data.log = {"delay_*", "load"};
    how.data.clip = {{"load", 0, 7}};
    const auto made = encode("delay_1,load,x,y\n0,-5,1,1\n-3,700,2,1\n", how);
    ASSERT_TRUE(made) << made.error().text();
    const auto learnt = learned(*made);
    EXPECT_EQ(learnt.inputs[0].transform, (NumberTransform{.log = true}));
    EXPECT_EQ(learnt.inputs[1].transform, (NumberTransform{.low = 0, .high = 7, .log = true}));
    EXPECT_EQ(learnt.inputs[2].transform, NumberTransform{});
    EXPECT_DOUBLE_EQ(learnt.inputs[0].mean, -std::log(4.0) / 2);
    EXPECT_DOUBLE_EQ(learnt.inputs[1].mean, std::log(8.0) / 2);
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{1, -1, -1, -1, 1, 1}));

    how.data.log = {"lod"};
    EXPECT_EQ(encode("load,y\n1,1\n", how).error().where, "/data/log/0");
    EXPECT_EQ(encode("load,y\n1,1\n", how).error().nearest, "load");
    how.data.log = {"cell"};
    how.data.clip = {};
    const auto text = encode("cell,y\na,1\n", how);
    ASSERT_FALSE(text);
    EXPECT_NE(text.error().text().find("are for numbers"), std::string::npos) << text.error().text();
    how.data.log = {};
    how.data.clip = {{"cells", 0, 1}};
    EXPECT_EQ(encode("cell,y\na,1\n", how).error().where, "/data/clip/cells");
}

TEST_F(Encoding, turns_dates_with_the_day_and_the_week) {
    // 1970-01-01 began a day and, as weeks are counted here, a week.
    const auto made =
        encode("when,y\n1970-01-01,1\n1970-01-01T06:00,2\n,3\n", recipe(), "when,y\n1970-01-04T12:00Z,1\n");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.columns, 5);
    EXPECT_EQ(learned(*made).inputs[0].kind, ColumnKind::date);
    const auto train = floats(made->folder / "train.features");
    const double eighth = 2 * M_PI / 28;
    const std::vector<double> expected{0, 1, 0, 1, 0, 1, 0, std::sin(eighth), std::cos(eighth), 0, 0, 0, 0, 0, 1};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(train[i], expected[i], 1e-7) << i;
    }
    const auto test = floats(made->folder / "test.features");
    EXPECT_NEAR(test[1], -1, 1e-7) << "noon";
    EXPECT_NEAR(test[3], -1, 1e-7) << "half of a week";
    const auto mixed = encode("when,y\n1970-01-01,1\nsoon,2\n", recipe());
    ASSERT_TRUE(mixed) << mixed.error().text();
    EXPECT_EQ(learned(*mixed).inputs[0].kind, ColumnKind::category);
    const auto wrong = encode("when,y\n1970-01-01,1\n1970-01-02,2\n", recipe(), "when,y\nsoon,1\n");
    ASSERT_FALSE(wrong);
    EXPECT_TRUE(wrong.error().where.ends_with("test.csv: row 2, column when")) << wrong.error().text();
}

TEST_F(Encoding, fills_missing_values_with_the_training_mean_and_flags_them) {
    const auto made = encode("a,c,y\n1,x,1\nNA,,2\n3,x,4\n", recipe());
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{-1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0}));
    const auto how = learned(*made);
    EXPECT_EQ(how.inputs[0].fill, 2);
    EXPECT_EQ(how.inputs[0].mean, 2);
    EXPECT_EQ(how.inputs[0].scale, 1);
    EXPECT_TRUE(how.inputs[1].missing_flag);
    EXPECT_EQ(how.target.median, 2);
}

TEST_F(Encoding, keeps_constant_columns_without_dividing_by_zero) {
    const auto made = encode("a,c,y\n7,x,1\n7,x,2\n", recipe());
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{0, 1, 0, 1}));
}

TEST_F(Encoding, treats_listed_numeric_columns_as_categories) {
    auto how = recipe();
    how.data.categorical = {"a"};
    const auto made = encode("a,y\n10,1\n9,2\n", how);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.features"), (Floats{1, 0, 0, 1}));
}

TEST_F(Encoding, numbers_the_classes_of_a_target) {
    auto how = recipe();
    how.loss = Loss::cross_entropy;
    const auto made = encode("a,y\n1,late\n2,early\n3,never\n", how, "a,y\n1,never\n");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(floats(made->folder / "train.target"), (Floats{1, 0, 2}));
    EXPECT_EQ(floats(made->folder / "test.target"), (Floats{2}));
    EXPECT_EQ(learned(*made).target.categories, (std::vector<std::string>{"early", "late", "never"}));
}

TEST_F(Encoding, understands_byte_order_marks_carriage_returns_and_quotes) {
    const auto plain = encode("a b,y\n1,1\n2,3\n", recipe());
    ASSERT_TRUE(plain) << plain.error().text();
    const auto features = floats(plain->folder / "train.features");
    for (const char* text :
         {"\xEF\xBB\xBF\"a b\",y\r\n1,1\r\n2,3\r\n", "\"a b\",\"y\"\n\"1\",\"1\"\n2,3", "a b,y\n1,1\n\n2,3\n"}) {
        const auto made = encode(text, recipe());
        ASSERT_TRUE(made) << made.error().text();
        EXPECT_EQ(floats(made->folder / "train.features"), features) << text;
        EXPECT_EQ(made->info.digest, plain->info.digest) << text;
    }
    const auto lines = encode("c,y\n\"two\nlines\",1\nb,2\n", recipe());
    ASSERT_TRUE(lines) << lines.error().text();
    EXPECT_EQ(learned(*lines).inputs[0].categories[1], "two\nlines");
}

TEST_F(Encoding, gives_the_same_matrix_whatever_the_block_size) {
    std::string text = "a,c,y\n";
    for (int i = 0; i < 2000; ++i) {
        text += std::to_string(i * 37 % 101) + "," + (i % 3 == 0 ? "x" : "\"y\"") + "," + std::to_string(i % 7) + "\n";
    }
    const auto whole = encode(text, recipe());
    ASSERT_TRUE(whole) << whole.error().text();
    settings_.block_bytes = 256;
    std::filesystem::remove_all(folder_ / "cache");
    const auto blocks = encode(text, recipe());
    ASSERT_TRUE(blocks) << blocks.error().text();
    EXPECT_EQ(blocks->info.digest, whole->info.digest);
    // Rows are counted across blocks.
    const auto bad = encode(text + "oops,x,1\n", recipe());
    ASSERT_FALSE(bad);
    EXPECT_NE(bad.error().where.find("row 2002, column a"), std::string::npos) << bad.error().text();
    const auto ragged = encode(text + "1,x\n", recipe());
    ASSERT_FALSE(ragged);
    EXPECT_NE(ragged.error().where.find("row 2002"), std::string::npos) << ragged.error().text();
}

TEST_F(Encoding, refuses_wrong_sources_and_says_where) {
    struct Case {
        const char* text;
        const char* where;
        const char* message;
    };
    for (const Case& each : {
             Case{"", "train.csv", "empty"},
             Case{"\r\n\n", "train.csv", "empty"},
             Case{"a,y\n", "train.csv", "not one row"},
             Case{"c,y\nx,1\n\"sch\xF6n\",1\n", "row 3, column c", "UTF-8"},
             Case{"a,y\n1,1\n2\n", "row 3", "1 cells, but the header has 2"},
             Case{"a,y\n1,1\n2,2,3\n", "row 3", "3 cells, but the header has 2"},
             Case{"a,a,y\n1,1,1\n", "row 1, column 2", "'a' twice"},
             Case{"a,,y\n1,1,1\n", "row 1, column 2", "no name"},
             Case{"a,y\n1,1\nabc,2\n3,3\n", "row 3, column a", "\"abc\" is not a number"},
             Case{"a,y\n1,1\ninf,2\n", "row 3, column a", "finite"},
             Case{"a,y\n,1\nNA,2\n", "column a", "data.exclude"},
             Case{"a,y\n1,\n2,NA\n", "column y", "no value in any row"},
             Case{"a,y\n1,5\n2,\n", "row 3, column y", "no value here"},
             Case{"a,y\n1,5\n2,1e400\n", "row 3, column y", "finite"},
             Case{"a,y\n1,low\n2,high\n", "row 2, column y", "needs numbers"},
             Case{"a,y\n1,5\n2,1e39\n", "row 3, column y", "finite"},
             Case{"a,y\n1e300,5\n-1e300,1\n", "column a", "too large"},
             Case{"c,y\nsch\xF6n,1\n", "train.csv", "UTF-8"},
             Case{"sch\xF6n,y\n1,1\n", "row 1, column 1", "UTF-8"},
             Case{"only,z\n1,2\n", "/data/target", "y"},
         }) {
        const auto made = encode(each.text, recipe());
        ASSERT_FALSE(made) << each.text;
        EXPECT_NE(made.error().where.find(each.where), std::string::npos) << each.text << made.error().text();
        EXPECT_NE(made.error().message.find(each.message), std::string::npos) << each.text << made.error().text();
        EXPECT_TRUE(made.error().code == ErrorCode::invalid_argument) << made.error().text();
    }
}

/// Each says the same as "a,c,y" with the rows 1.5,x,10 and -2.25,ö,20 and NA,x,30.
TEST_F(Encoding, reads_tables_as_people_write_them) {
    const std::string plain = "a,c,y\n1.5,x,10\n-2.25,\xC3\xB6,20\nNA,x,30\n";
    const auto expected = encode(plain, recipe());
    ASSERT_TRUE(expected) << expected.error().text();
    const auto features = floats(expected->folder / "train.features");
    struct Case {
        const char* name;
        std::string text;
        RecipeCsv csv{};
    };
    for (const Case& each : {
             Case{"semicolons and decimal commas", "a;c;y\n1,5;x;10\n-2,25;\xC3\xB6;20\nNA;x;30\n"},
             Case{"tabs and CR LF", "a\tc\ty\r\n1.5\tx\t10\r\n-2.25\t\xC3\xB6\t20\r\nNA\tx\t30\r\n"},
             Case{"bars", "a|c|y\n1.5|x|10\n-2.25|\xC3\xB6|20\n?|x|30\n"},
             Case{"spaces", "a, c, y\n1.5, x, 10\n-2.25, \"\xC3\xB6\", 20\n, x, 30\n"},
             Case{"a byte order mark and quotes",
                  "\xEF\xBB\xBF\"a\";\"c\";\"y\"\n\"1,5\";x;10\n-2,25;\xC3\xB6;20\nNaN;x;30\n"},
             Case{"Latin-1", "a,c,y\n1.5,x,10\n-2.25,\xF6,20\nNA,x,30\n", {.encoding = CsvEncoding::latin1}},
             Case{"said, not guessed",
                  "a,c,y\n\"1,5\",x,10\n\"-2,25\",\xC3\xB6,20\nNA,x,30\n",
                  {.delimiter = ',', .decimal = ','}},
         }) {
        auto how = recipe();
        how.data.csv = each.csv;
        const auto made = encode(each.text, how);
        ASSERT_TRUE(made) << each.name << ": " << made.error().text();
        EXPECT_EQ(floats(made->folder / "train.features"), features) << each.name;
        EXPECT_EQ(learned(*made).inputs[1].categories, (std::vector<std::string>{"x", "\xC3\xB6"})) << each.name;
    }
}

TEST_F(Encoding, reads_tables_without_a_header_and_with_names_of_rows) {
    auto how = recipe();
    how.data.target = "column_2";
    const char* numbers = "1,10\n2,20\n3,31\n";
    const auto refused = encode(numbers, how);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("data.csv.header: false"), std::string::npos) << refused.error().text();
    how.data.csv.header = false;
    const auto made = encode(numbers, how);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.rows, 3);
    const auto ragged = encode("1,10\n2\n", how);
    ASSERT_FALSE(ragged);
    EXPECT_NE(ragged.error().where.find("row 2"), std::string::npos) << ragged.error().text();
    EXPECT_NE(ragged.error().message.find("first row has 2"), std::string::npos) << ragged.error().text();

    how = recipe();
    how.data.exclude = {"row_name"};
    const auto named = encode("a,y\nr1,1,10\nr2,2,20\n", how);
    ASSERT_TRUE(named) << named.error().text();
    EXPECT_EQ(learned(*named).inputs.front().name, "a");
    EXPECT_EQ(named->info.columns, 1);

    how = recipe();
    how.data.target = "2";
    how.data.csv.header = true;
    EXPECT_TRUE(encode("1,2\n5,6\n7,8\n", how)) << "names that are numbers";
}

TEST_F(Encoding, of_another_dialect_is_another_matrix) {
    auto how = recipe();
    const auto guessed = encode("a;y\n1,5;1\n2,5;2\n", how);
    how.data.csv.decimal = '.';
    const auto said = encode("a;y\n1,5;1\n2,5;2\n", how);
    ASSERT_TRUE(guessed && said);
    EXPECT_EQ(guessed->info.columns, 1);
    EXPECT_EQ(said->info.columns, 2) << "two texts";
}

TEST_F(Encoding, names_the_nearest_column) {
    auto how = recipe();
    how.data.target = "delay_m";
    const auto target = encode("sinr,delay_ms\n1,1\n", how);
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().nearest, "delay_ms");
    EXPECT_EQ(target.error().where, "/data/target");
    how.data = {.source = "s", .target = "delay_ms", .exclude = {"sinR"}};
    const auto exclude = encode("sinr,delay_ms\n1,1\n", how);
    ASSERT_FALSE(exclude);
    EXPECT_EQ(exclude.error().nearest, "sinr");
    EXPECT_EQ(exclude.error().where, "/data/exclude/0");
    how.data = {.source = "s", .target = "delay_ms", .exclude = {"sinr"}};
    const auto nothing = encode("sinr,delay_ms\n1,1\n", how);
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().where, "/data/exclude");
}

TEST_F(Encoding, refuses_a_test_source_that_does_not_fit) {
    const char* train = "a,c,y\n1,x,1\n2,z,2\n";
    struct Case {
        const char* text;
        const char* message;
    };
    for (const Case& each : {Case{"aa,c,y\n1,x,1\n", "no column 'a'"},
                             Case{"a,c,y\n", "not one row"},
                             Case{"a,c,y\none,x,1\n", "\"one\" is not a finite number"},
                             Case{"a,c,y\n1,x,\n", "needs one in every row"}}) {
        const auto made = encode(train, recipe(), each.text);
        ASSERT_FALSE(made) << each.text;
        EXPECT_NE(made.error().message.find(each.message), std::string::npos) << made.error().text();
        EXPECT_NE(made.error().where.find("test.csv"), std::string::npos) << made.error().text();
    }
    auto classes = recipe();
    classes.loss = Loss::binary_cross_entropy;
    const auto unknown = encode("a,y\n1,late\n2,early\n", classes, "a,y\n1,Late\n");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().nearest, "late");
}

TEST_F(Encoding, refuses_targets_that_do_not_fit_the_loss) {
    auto how = recipe();
    how.loss = Loss::binary_cross_entropy;
    const auto three = encode("a,y\n1,0\n2,1\n3,2\n", how);
    ASSERT_FALSE(three);
    EXPECT_NE(three.error().message.find("3 classes"), std::string::npos);
    const auto one = encode("a,y\n1,0\n2,0\n", how);
    ASSERT_FALSE(one);
    EXPECT_NE(one.error().message.find("always"), std::string::npos);
}

TEST_F(Encoding, keeps_its_limits) {
    std::string many = "id,y\n";
    for (int i = 0; i < 300; ++i) {
        many += "run" + std::to_string(i) + ",1\n";
    }
    const auto categories = encode(many, recipe());
    ASSERT_FALSE(categories);
    EXPECT_NE(categories.error().message.find("more than 256"), std::string::npos) << categories.error().text();
    const auto good = std::string{"a,y\n1,1\n2,2\n"};
    const Settings normal = settings_;
    settings_.source_bytes_max = 4;
    EXPECT_EQ(encode(good, recipe()).error().code, ErrorCode::resource_exhausted);
    settings_ = normal;
    settings_.matrix_bytes_max = 4;
    EXPECT_EQ(encode(good, recipe()).error().code, ErrorCode::resource_exhausted);
    settings_ = normal;
    settings_.rows_max = 1;
    EXPECT_EQ(encode(good, recipe()).error().code, ErrorCode::resource_exhausted);
    settings_ = normal;
    settings_.columns_max = 1;
    EXPECT_EQ(encode(good, recipe()).error().code, ErrorCode::resource_exhausted);
    settings_ = normal;
    settings_.block_bytes = 64;
    const auto open_quote = encode("a,y\n1,\"1\n" + std::string(500, 'x'), recipe());
    ASSERT_FALSE(open_quote);
    EXPECT_NE(open_quote.error().message.find("quotation mark"), std::string::npos) << open_quote.error().text();
}

TEST_F(Encoding, refuses_files_that_are_not_there) {
    const DataRequest request{.train = folder_ / "absent.csv", .test = {}, .recipe = recipe()};
    const auto made = prepare(request, folder_ / "cache", settings_);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::not_found);
    const DataRequest directory{.train = folder_, .test = {}, .recipe = recipe()};
    EXPECT_FALSE(prepare(directory, folder_ / "cache", settings_));
}

TEST_F(Encoding, finds_what_it_made_before_and_notices_every_change) {
    const std::string text = "a,y\n1,1\n2,2\n";
    const auto first = encode(text, recipe());
    ASSERT_TRUE(first) << first.error().text();
    const auto again = encode(text, recipe());
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(again->folder, first->folder);
    EXPECT_EQ(again->info.encode_seconds, 0);
    EXPECT_EQ(again->info.digest, first->info.digest);
    auto other = recipe();
    other.epochs = 99; // does not change the matrix
    EXPECT_EQ(encode(text, other)->folder, first->folder);
    other.data.categorical = {"a"};
    EXPECT_NE(encode(text, other)->folder, first->folder);
    EXPECT_NE(encode("a,y\n1,1\n2,3\n", recipe())->folder, first->folder); // same size, same moment
    EXPECT_NE(encode(text, recipe(), text)->folder, first->folder);
    // A matrix that lost a part is made again.
    std::filesystem::resize_file(first->folder / "train.features", 4);
    const auto mended = encode(text, recipe());
    ASSERT_TRUE(mended) << mended.error().text();
    EXPECT_EQ(floats(mended->folder / "train.features"), (Floats{-1, 1}));
}

TEST_F(Encoding, leaves_nothing_behind_after_a_refusal) {
    ASSERT_FALSE(encode("a,y\n1,1\n2,2\n", recipe(), "a,y\n1,1\nx,2\n"));
    ASSERT_TRUE(encode("a,y\n1,1\n2,2\n", recipe()));
    int folders = 0;
    for (const auto& entry : std::filesystem::directory_iterator{folder_ / "cache"}) {
        folders += entry.is_directory() ? 1 : 0;
    }
    EXPECT_EQ(folders, 1);
}

TEST_F(Encoding, lets_several_programs_share_a_cache) {
    const DataRequest request{.train = write("train.csv", "a,y\n1,1\n2,2\n"), .test = {}, .recipe = recipe()};
    std::vector<std::string> digests(4);
    {
        std::vector<std::jthread> threads;
        for (auto& digest : digests) {
            threads.emplace_back([&] { digest = prepare(request, folder_ / "cache", settings_)->info.digest; });
        }
    }
    for (const auto& digest : digests) {
        EXPECT_EQ(digest, digests.front());
    }
    EXPECT_FALSE(digests.front().empty());
}

TEST(DataRequest, is_read_from_json) {
    const nlohmann::json recipe{{"name", "r"},
                                {"data", {{"source", "s"}, {"target", "y"}}},
                                {"model", {{"family", "mlp"}}},
                                {"loss", "l1"},
                                {"optimizer", {{"name", "adamw"}}}};
    const auto good = data_request_from_json({{"train", "a.csv"}, {"test", nullptr}, {"recipe", recipe}});
    ASSERT_TRUE(good) << good.error().text();
    EXPECT_FALSE(good->test);
    EXPECT_EQ(good->recipe.data.target, "y");
    EXPECT_EQ(data_request_from_json({{"train", "a.csv"}, {"test", "b.csv"}, {"recipe", recipe}})->test, "b.csv");
    for (const nlohmann::json& bad : {nlohmann::json{},
                                      nlohmann::json{{"train", "a.csv"}},
                                      nlohmann::json{{"recipe", recipe}},
                                      nlohmann::json{{"train", 1}, {"recipe", recipe}},
                                      nlohmann::json{{"train", "a"}, {"test", 2}, {"recipe", recipe}},
                                      nlohmann::json{{"train", "a"}, {"recipe", 5}}}) {
        EXPECT_FALSE(data_request_from_json(bad)) << bad.dump();
    }
}

} // namespace
} // namespace muster::data
