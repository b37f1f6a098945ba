#include "data/columnar_source.h"
#include "data/folder_fixture.h"
#include "data/source.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_dict.h>
#include <arrow/array/builder_nested.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <cmath>

namespace muster::data {
namespace {

using arrow::field;

template <typename Builder, typename Values>
std::shared_ptr<arrow::Array> array_of(const std::shared_ptr<arrow::DataType>& type, const Values& values) {
    Builder builder{type, arrow::default_memory_pool()};
    for (const auto& value : values) {
        EXPECT_TRUE(value ? builder.Append(*value).ok() : builder.AppendNull().ok());
    }
    return builder.Finish().ValueOrDie();
}

/// One column of each kind, three rows, the last one null.
std::shared_ptr<arrow::RecordBatch> all_kinds() {
    using Reals = std::vector<std::optional<double>>;
    using Wholes = std::vector<std::optional<std::int64_t>>;
    using Texts = std::vector<std::optional<std::string>>;
    const auto zone = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    const auto seconds = arrow::timestamp(arrow::TimeUnit::SECOND);
    arrow::StringDictionaryBuilder words;
    EXPECT_TRUE(words.Append("n78").ok() && words.Append("n8").ok() && words.AppendNull().ok());
    arrow::Decimal128Builder money{arrow::decimal128(10, 2)};
    EXPECT_TRUE(money.Append(arrow::Decimal128{12345}).ok() && money.Append(arrow::Decimal128{-5}).ok() &&
                money.AppendNull().ok());
    arrow::BooleanBuilder truths;
    EXPECT_TRUE(truths.Append(true).ok() && truths.Append(false).ok() && truths.AppendNull().ok());
    const auto word_column = words.Finish().ValueOrDie();
    const std::vector<std::shared_ptr<arrow::Field>> fields{field("real", arrow::float64()),
                                                            field("small", arrow::float32()),
                                                            field("whole", arrow::int64()),
                                                            field("text", arrow::utf8()),
                                                            field("word", word_column->type()),
                                                            field("truth", arrow::boolean()),
                                                            field("money", arrow::decimal128(10, 2)),
                                                            field("day", arrow::date32()),
                                                            field("utc", zone),
                                                            field("local", seconds),
                                                            field("nothing", arrow::null())};
    return arrow::RecordBatch::Make(
        arrow::schema(fields),
        3,
        {array_of<arrow::DoubleBuilder>(arrow::float64(), Reals{0.1, NAN, {}}),
         array_of<arrow::FloatBuilder>(arrow::float32(), std::vector<std::optional<float>>{0.5F, 0.1F, {}}),
         array_of<arrow::Int64Builder>(arrow::int64(), Wholes{9'007'199'254'740'993, -1, {}}),
         array_of<arrow::StringBuilder>(arrow::utf8(), Texts{"a, \"b\"", "", {}}),
         word_column,
         truths.Finish().ValueOrDie(),
         money.Finish().ValueOrDie(),
         array_of<arrow::Date32Builder>(arrow::date32(), std::vector<std::optional<std::int32_t>>{0, -1, {}}),
         array_of<arrow::TimestampBuilder>(zone, Wholes{1'769'850'930'250'000, -1, {}}),
         array_of<arrow::TimestampBuilder>(seconds, Wholes{1'769'850'930, -86'400, {}}),
         std::make_shared<arrow::NullArray>(3)});
}

const std::vector<std::vector<std::string>> all_cells{{"0.1",
                                                       "0.5",
                                                       "9007199254740993",
                                                       "a, \"b\"",
                                                       "n78",
                                                       "true",
                                                       "123.45",
                                                       "1970-01-01",
                                                       "2026-01-31T09:15:30.25Z",
                                                       "2026-01-31T09:15:30",
                                                       ""},
                                                      {"",
                                                       "0.10000000149011612",
                                                       "-1",
                                                       "",
                                                       "n8",
                                                       "false",
                                                       "-0.05",
                                                       "1969-12-31",
                                                       "1969-12-31T23:59:59.999999Z",
                                                       "1969-12-31T00:00:00",
                                                       ""},
                                                      {"", "", "", "", "", "", "", "", "", "", ""}};

class Columnar : public FolderTest {
protected:
    [[nodiscard]] std::filesystem::path path() const { return folder_ / "table"; }
    void write_parquet(const std::shared_ptr<arrow::RecordBatch>& batch, std::int64_t group_rows = 2) const {
        const auto table = arrow::Table::FromRecordBatches({batch}).ValueOrDie();
        const auto file = arrow::io::FileOutputStream::Open(path().string()).ValueOrDie();
        ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), file, group_rows).ok());
        ASSERT_TRUE(file->Close().ok());
    }
    void write_ipc(const std::shared_ptr<arrow::RecordBatch>& batch, bool stream) const {
        const auto file = arrow::io::FileOutputStream::Open(path().string()).ValueOrDie();
        const auto writer = (stream ? arrow::ipc::MakeStreamWriter(file, batch->schema())
                                    : arrow::ipc::MakeFileWriter(file, batch->schema()))
                                .ValueOrDie();
        ASSERT_TRUE(writer->WriteRecordBatch(*batch->Slice(0, 2)).ok());
        ASSERT_TRUE(writer->WriteRecordBatch(*batch->Slice(2)).ok());
        ASSERT_TRUE(writer->Close().ok() && file->Close().ok());
    }
    Result<std::vector<std::vector<std::string>>> rows_of(const std::vector<std::string>& columns) const {
        std::vector<std::vector<std::string>> rows;
        auto read = read_rows(path(), {}, columns, settings_, [&](const TextBlock& block) -> Result<void> {
            EXPECT_EQ(block.first_row, std::ssize(rows) + 1);
            for (std::size_t row = 0; row < static_cast<std::size_t>(block.rows); ++row) {
                rows.emplace_back();
                for (const TextColumn& column : block.columns) {
                    rows.back().emplace_back(column[row]);
                }
            }
            return {};
        });
        return read ? Result<std::vector<std::vector<std::string>>>{rows} : std::move(read).error();
    }
    void expect_all_kinds(FileKind kind) const {
        EXPECT_EQ(*kind_of(path()), kind);
        const auto header = read_header(path(), {}, settings_);
        ASSERT_TRUE(header) << header.error().text();
        EXPECT_EQ(*header, all_kinds()->schema()->field_names());
        const auto rows = rows_of(*header);
        ASSERT_TRUE(rows) << rows.error().text();
        EXPECT_EQ(*rows, all_cells);
        const auto some = rows_of({"word", "real"});
        ASSERT_TRUE(some) << some.error().text();
        EXPECT_EQ(some->front(), (std::vector<std::string>{"n78", "0.1"}));
    }
};

TEST_F(Columnar, parquet_is_read_by_row_groups_and_columns) {
    write_parquet(all_kinds());
    expect_all_kinds(FileKind::parquet);
}

TEST_F(Columnar, arrow_files_and_streams_are_read) {
    write_ipc(all_kinds(), false);
    expect_all_kinds(FileKind::arrow_file);
    write_ipc(all_kinds(), true);
    expect_all_kinds(FileKind::arrow_stream);
}

TEST_F(Columnar, the_same_table_gives_the_same_matrix_as_csv) {
    const auto csv = encode("x,y,band\n0.5,1,n8\n,2,n78\n3,4,\n", recipe());
    ASSERT_TRUE(csv) << csv.error().text();
    const auto batch = arrow::RecordBatch::Make(
        arrow::schema({field("x", arrow::float64()), field("y", arrow::int32()), field("band", arrow::utf8())}),
        3,
        {array_of<arrow::DoubleBuilder>(arrow::float64(), std::vector<std::optional<double>>{0.5, {}, 3.0}),
         array_of<arrow::Int32Builder>(arrow::int32(), std::vector<std::optional<std::int32_t>>{1, 2, 4}),
         array_of<arrow::StringBuilder>(arrow::utf8(), std::vector<std::optional<std::string>>{"n8", "n78", {}})});
    write_parquet(batch);
    const auto made = prepare({.train = path(), .test = {}, .recipe = recipe()}, folder_ / "cache", settings_);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->info.digest, csv->info.digest);
}

TEST_F(Columnar, types_that_are_no_cells_are_refused_by_name) {
    arrow::ListBuilder lists{arrow::default_memory_pool(), std::make_shared<arrow::Int32Builder>()};
    ASSERT_TRUE(lists.AppendNull().ok());
    const auto batch = arrow::RecordBatch::Make(
        arrow::schema({field("l", arrow::list(arrow::int32())), field("y", arrow::int32())}),
        1,
        {lists.Finish().ValueOrDie(),
         array_of<arrow::Int32Builder>(arrow::int32(), std::vector<std::optional<std::int32_t>>{7})});
    write_parquet(batch);
    const auto refused = rows_of({"y", "l"});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("column l"), std::string::npos) << refused.error().text();
    EXPECT_NE(refused.error().text().find("list<"), std::string::npos) << refused.error().text();
    const auto other = rows_of({"y"});
    ASSERT_TRUE(other) << other.error().text();
    EXPECT_EQ(other->front().front(), "7") << "other columns can be read";
}

TEST_F(Columnar, damaged_and_truncated_files_are_refused) {
    const auto damage = [&](bool head) {
        std::string content;
        {
            std::ifstream file{path(), std::ios::binary};
            content.assign(std::istreambuf_iterator<char>{file}, {});
        }
        for (const std::size_t keep : {std::size_t{9}, content.size() / 2, content.size() - 3}) {
            write("table", content.substr(0, keep));
            const auto refused = read_header(path(), {}, settings_);
            EXPECT_TRUE(!refused || !rows_of({"real"})) << keep;
        }
        for (std::size_t at = head ? 8 : 0; at < content.size(); at += 7) { // no crash, whatever it says
            std::string bad = content;
            bad[at] = static_cast<char>(bad[at] ^ 0x5A);
            write("table", bad);
            const auto header = kind_of(path()).value() == FileKind::csv ? Result<std::vector<std::string>>{Error{}}
                                                                         : read_header(path(), {}, settings_);
            if (header) {
                (void)rows_of(*header);
            }
        }
    };
    write_parquet(all_kinds());
    damage(false);
    write_ipc(all_kinds(), false);
    damage(true);
    write_ipc(all_kinds(), true);
    damage(true);
}

TEST_F(Columnar, bombs_are_refused_before_they_are_unpacked) {
    constexpr std::int64_t rows = 200'000;
    arrow::StringBuilder same;
    for (std::int64_t row = 0; row < rows; ++row) {
        ASSERT_TRUE(same.Append(std::string(100, 'x')).ok());
    }
    const auto batch =
        arrow::RecordBatch::Make(arrow::schema({field("real", arrow::utf8())}), rows, {same.Finish().ValueOrDie()});
    write_parquet(batch, rows);
    ASSERT_LT(std::filesystem::file_size(path()), 100'000U) << "20 MB in a small file";
    settings_.source_bytes_max = 1 << 20;
    const auto refused = rows_of({"real"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted) << refused.error().text();
}

} // namespace
} // namespace muster::data
