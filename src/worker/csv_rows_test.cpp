#include "worker/csv_rows.h"

#include <gtest/gtest.h>

namespace muster::worker {
namespace {

TEST(CsvRows, reads_quotes_line_ends_and_a_byte_order_mark) {
    const auto csv = parse_csv("\xEF\xBB\xBF"
                               "a,\"b,c\",d\r\n1,\"x \"\"y\"\"\n z\",\r\n\n2,,3");
    ASSERT_TRUE(csv.ok()) << csv.error().text();
    EXPECT_EQ(csv->header, (std::vector<std::string>{"a", "b,c", "d"}));
    ASSERT_EQ(csv->rows.size(), 2U);
    EXPECT_EQ(csv->rows[0], (std::vector<std::string>{"1", "x \"y\"\n z", ""}));
    EXPECT_EQ(csv->rows[1], (std::vector<std::string>{"2", "", "3"}));
}

TEST(CsvRows, reads_what_is_written_with_semicolons_and_decimal_commas) {
    const auto csv = parse_csv("a; b ;c\n1,5; x; \" y\"\n2;z;\n");
    ASSERT_TRUE(csv.ok()) << csv.error().text();
    EXPECT_EQ(csv->header, (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(csv->rows[0], (std::vector<std::string>{"1.5", "x", " y"}));
    EXPECT_EQ(csv->rows[1], (std::vector<std::string>{"2", "z", ""}));
}

TEST(CsvRows, names_the_row_that_is_wrong) {
    EXPECT_EQ(parse_csv("a,b\n1,2\n3\n").error().where, "row 3");
    EXPECT_EQ(parse_csv("a,b\n1,\"2\n").error().where, "row 2");
    EXPECT_FALSE(parse_csv("").ok());
}

} // namespace
} // namespace muster::worker
