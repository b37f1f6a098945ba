#include "base/csv_dialect.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

struct DialectCase {
    const char* name;
    const char* text;
    CsvDialect expected;
};

class GuessDialect : public ::testing::TestWithParam<DialectCase> {};

TEST_P(GuessDialect, finds_what_was_meant) {
    EXPECT_EQ(guess_dialect(GetParam().text), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(CsvDialect,
                         GuessDialect,
                         ::testing::Values(DialectCase{"commas", "a,b\n1.5,2\n", {',', '.'}},
                                           DialectCase{"semicolons", "a;b\n1.5;2\n", {';', '.'}},
                                           DialectCase{"tabs", "a\tb c\n1\tx y\n", {'\t', '.'}},
                                           DialectCase{"bars", "a|b\n1|2\n", {'|', '.'}},
                                           DialectCase{"decimal_commas", "a;b\n1,5;2,5\n3;4\n", {';', ','}},
                                           DialectCase{"decimal_commas_without_header", "1,5;2,5;3,5\n", {';', ','}},
                                           DialectCase{"points_among_commas", "a;b\n1,5;x\n2.5;y\n", {';', '.'}},
                                           DialectCase{"commas_in_texts", "a;b\nx, y;1\nz;2\n", {';', '.'}},
                                           DialectCase{"semicolons_in_texts", "a,b\nx; y,1\nz,2\n", {',', '.'}},
                                           DialectCase{"quoted_delimiters", "a;b\n\"x;y;z\";1\n", {';', '.'}},
                                           DialectCase{"quoted_line_ends", "a;b\n\"x\ny\";1\nz;2\n", {';', '.'}},
                                           DialectCase{"row_names", "b;c\nr1;1;2\nr2;3;4\n", {';', '.'}},
                                           DialectCase{"carriage_returns", "a;b\r\n1,5;2\r\n", {';', ','}},
                                           DialectCase{"one_column", "a\n1.5\n", {',', '.'}},
                                           DialectCase{"a_ragged_row", "a,b\n1,2\n3\n", {',', '.'}},
                                           DialectCase{"a_header_alone", "a;b;c\n", {';', '.'}},
                                           DialectCase{"an_open_end", "a;b\n1;2\n3", {';', '.'}},
                                           DialectCase{"nothing", "", {',', '.'}}),
                         [](const auto& each) { return std::string{each.param.name}; });

TEST(CsvDialect, keeps_what_is_given) {
    EXPECT_EQ(guess_dialect("a;b\n1,5;2\n", ',').delimiter, ',');
    EXPECT_EQ(guess_dialect("a;b\n1,5;2\n", std::nullopt, '.').decimal, '.');
    EXPECT_EQ(guess_dialect("a,b\n\"1,5\",2\n", std::nullopt, ',').decimal, ',');
}

TEST(CsvDialect, reads_numbers_with_a_comma_and_nothing_else) {
    EXPECT_EQ(with_decimal_point("1,5"), "1.5");
    EXPECT_EQ(with_decimal_point(" -2,5e3"), " -2.5e3");
    for (const char* other : {"1.5", "1", "1,2,3", "1.000,5", "a,b", ",", "", "x1,5"}) {
        EXPECT_FALSE(with_decimal_point(other).has_value()) << other;
    }
}

TEST(CsvDialect, counts_cells) {
    EXPECT_EQ(cells_of_first_record("\n\na,\"b,c\",d\n1,2\n", ','), 3U);
    EXPECT_EQ(cells_of_first_record("a", ','), 1U);
    EXPECT_EQ(cells_of_first_record("a,", ','), 2U);
    EXPECT_EQ(cells_of_first_record("", ','), 0U);
    EXPECT_EQ(trimmed("  a b\t"), "a b");
    EXPECT_EQ(trimmed(" \t"), "");
}

} // namespace
} // namespace muster
