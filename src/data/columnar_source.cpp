#include "data/columnar_source.h"

#include "data/bytes.h"
#include "data/cell_text.h"
#include "data/place.h"

#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <algorithm>
#include <limits>
#include <memory>

namespace muster::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t batch_rows = 16'384;

Error damaged(const fs::path& file, const arrow::Status& status) {
    if (status.IsOutOfMemory() || status.IsCapacityError()) {
        return {ErrorCode::resource_exhausted,
                "memory ran out while reading; raise --memory-limit, or write smaller row groups",
                file.string()};
    }
    return {ErrorCode::invalid_argument,
            "the file is damaged or truncated, copy it again (" + status.message() + ")",
            file.string()};
}

/// One file that is read column by column.
class ColumnarFile {
public:
    ColumnarFile() = default;
    virtual ~ColumnarFile() = default;
    ColumnarFile(const ColumnarFile&) = delete;
    ColumnarFile& operator=(const ColumnarFile&) = delete;

    [[nodiscard]] virtual const arrow::Schema& schema() const = 0;
    /// Chooses fields of the schema, in this order; before the first next().
    virtual arrow::Status choose(const std::vector<int>& fields) = 0;
    /// The next rows of the chosen fields in their order; null at the end.
    virtual arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() = 0;
    /// Bytes that the chosen columns have uncompressed, as the file says; 0: it does not.
    [[nodiscard]] virtual std::int64_t uncompressed_bytes() const { return 0; }
};

class ParquetFile final : public ColumnarFile {
public:
    static arrow::Result<std::unique_ptr<ColumnarFile>> open(std::shared_ptr<arrow::io::RandomAccessFile> bytes) {
        auto file = std::make_unique<ParquetFile>();
        parquet::ArrowReaderProperties how{false}; // no threads
        how.set_batch_size(batch_rows);
        how.set_pre_buffer(false);
        parquet::arrow::FileReaderBuilder builder;
        ARROW_RETURN_NOT_OK(builder.Open(std::move(bytes), parquet::ReaderProperties{arrow::system_memory_pool()}));
        ARROW_ASSIGN_OR_RAISE(file->reader_,
                              builder.memory_pool(arrow::system_memory_pool())->properties(how)->Build());
        ARROW_RETURN_NOT_OK(file->reader_->GetSchema(&file->schema_));
        return std::unique_ptr<ColumnarFile>{std::move(file)};
    }
    [[nodiscard]] const arrow::Schema& schema() const override { return *schema_; }
    arrow::Status choose(const std::vector<int>& fields) override {
        const auto& known = reader_->manifest().schema_fields;
        for (const int field : fields) {
            leaves_.push_back(known.at(static_cast<std::size_t>(field)).column_index);
        }
        return arrow::Status::OK();
    }
    arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() override {
        while (true) {
            std::shared_ptr<arrow::RecordBatch> batch;
            if (batches_) {
                ARROW_RETURN_NOT_OK(batches_->ReadNext(&batch));
            }
            if (batch && batch->num_rows() > 0) {
                return batch;
            }
            if (!batch && group_ == reader_->num_row_groups()) {
                return nullptr;
            }
            if (!batch) {
                ARROW_ASSIGN_OR_RAISE(batches_, reader_->GetRecordBatchReader({group_}, leaves_));
                ++group_;
            }
        }
    }
    [[nodiscard]] std::int64_t uncompressed_bytes() const override {
        std::int64_t bytes = 0;
        const auto metadata = reader_->parquet_reader()->metadata();
        for (int group = 0; group < metadata->num_row_groups(); ++group) {
            for (const int leaf : leaves_) {
                const auto chunk =
                    std::max<std::int64_t>(0, metadata->RowGroup(group)->ColumnChunk(leaf)->total_uncompressed_size());
                bytes = chunk > std::numeric_limits<std::int64_t>::max() - bytes ? bytes : bytes + chunk;
            }
        }
        return bytes;
    }

private:
    std::unique_ptr<parquet::arrow::FileReader> reader_;
    std::shared_ptr<arrow::Schema> schema_;
    std::vector<int> leaves_;
    int group_{};
    std::unique_ptr<arrow::RecordBatchReader> batches_;
};

/// What comes from IPC is what somebody wrote: offsets and lengths are checked before anything is read by them.
arrow::Result<std::shared_ptr<arrow::RecordBatch>> chosen(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                          const std::vector<int>& fields) {
    ARROW_ASSIGN_OR_RAISE(auto some, batch->SelectColumns(fields));
    ARROW_RETURN_NOT_OK(some->ValidateFull());
    return some;
}

arrow::ipc::IpcReadOptions ipc_options() {
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = arrow::system_memory_pool();
    options.use_threads = false;
    return options;
}

class ArrowFile final : public ColumnarFile {
public:
    static arrow::Result<std::unique_ptr<ColumnarFile>> open(std::shared_ptr<arrow::io::RandomAccessFile> bytes) {
        auto file = std::make_unique<ArrowFile>();
        ARROW_ASSIGN_OR_RAISE(file->reader_, arrow::ipc::RecordBatchFileReader::Open(std::move(bytes), ipc_options()));
        return std::unique_ptr<ColumnarFile>{std::move(file)};
    }
    [[nodiscard]] const arrow::Schema& schema() const override { return *reader_->schema(); }
    arrow::Status choose(const std::vector<int>& fields) override {
        fields_ = fields;
        return arrow::Status::OK();
    }
    arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() override {
        if (number_ == reader_->num_record_batches()) {
            return nullptr;
        }
        ARROW_ASSIGN_OR_RAISE(const auto batch, reader_->ReadRecordBatch(number_++));
        return chosen(batch, fields_);
    }

private:
    std::shared_ptr<arrow::ipc::RecordBatchFileReader> reader_;
    std::vector<int> fields_;
    int number_{};
};

class ArrowStream final : public ColumnarFile {
public:
    static arrow::Result<std::unique_ptr<ColumnarFile>> open(std::shared_ptr<arrow::io::RandomAccessFile> bytes) {
        auto file = std::make_unique<ArrowStream>();
        const std::shared_ptr<arrow::io::InputStream> stream{std::move(bytes)};
        ARROW_ASSIGN_OR_RAISE(file->reader_, arrow::ipc::RecordBatchStreamReader::Open(stream, ipc_options()));
        return std::unique_ptr<ColumnarFile>{std::move(file)};
    }
    [[nodiscard]] const arrow::Schema& schema() const override { return *reader_->schema(); }
    arrow::Status choose(const std::vector<int>& fields) override {
        fields_ = fields;
        return arrow::Status::OK();
    }
    arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() override {
        std::shared_ptr<arrow::RecordBatch> batch;
        ARROW_RETURN_NOT_OK(reader_->ReadNext(&batch));
        return batch ? chosen(batch, fields_) : nullptr;
    }

private:
    std::shared_ptr<arrow::RecordBatchReader> reader_;
    std::vector<int> fields_;
};

arrow::Result<std::unique_ptr<ColumnarFile>> open_columnar(const fs::path& file, FileKind kind) {
    ARROW_ASSIGN_OR_RAISE(const auto bytes, arrow::io::ReadableFile::Open(file.string(), arrow::system_memory_pool()));
    switch (kind) {
    case FileKind::parquet:
        return ParquetFile::open(bytes);
    case FileKind::arrow_file:
        return ArrowFile::open(bytes);
    case FileKind::arrow_stream:
    case FileKind::csv:
        break;
    }
    return ArrowStream::open(bytes);
}

/// Where the columns are in the schema. Errors: a type that is no cell; unavailable, when the file has changed.
Result<std::vector<int>>
fields_of(const arrow::Schema& schema, const std::vector<std::string>& columns, const fs::path& file) {
    std::vector<int> fields;
    for (const std::string& name : columns) {
        const int field = schema.GetFieldIndex(name);
        if (field < 0) {
            return Error{ErrorCode::unavailable, "the file changed while it was read; try again", file.string()};
        }
        const arrow::DataType& type = *schema.field(field)->type();
        if (!is_cell_type(type)) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("values of type {} are no cells of a table; list the column under data.exclude of "
                                     "the recipe",
                                     type.ToString()),
                         place_in(file.string(), 0, name)};
        }
        fields.push_back(field);
    }
    return fields;
}

/// A batch as a block. `bytes_left` is what the source may still take.
Result<TextBlock> block_of(const arrow::RecordBatch& batch,
                           const std::vector<std::string>& columns,
                           const fs::path& file,
                           std::int64_t first_row,
                           std::int64_t& bytes_left) {
    TextBlock block{.first_row = first_row, .rows = batch.num_rows(), .columns = {}};
    for (std::size_t i = 0; i < columns.size(); ++i) {
        auto cells = cells_of(*batch.column(static_cast<int>(i)), block.rewritten.emplace_back(), bytes_left);
        if (!cells) {
            return Error{cells.error().code, cells.error().message, place_in(file.string(), first_row, columns[i])};
        }
        std::int64_t row = first_row;
        for (const std::string_view cell : *cells) {
            if (!arrow::util::ValidateUTF8(cell)) {
                return Error{
                    ErrorCode::invalid_argument, "the text is not UTF-8", place_in(file.string(), row, columns[i])};
            }
            bytes_left -= static_cast<std::int64_t>(cell.size());
            ++row;
        }
        block.columns.push_back(std::move(*cells));
    }
    return block;
}

Error too_large(const fs::path& file, const Settings& settings) {
    return {ErrorCode::resource_exhausted,
            fmt::format("larger than {} bytes uncompressed", settings.source_bytes_max),
            file.string()};
}

Result<void> read_open(ColumnarFile& open,
                       const fs::path& file,
                       const std::vector<std::string>& columns,
                       const Settings& settings,
                       const TakeBlock& take) {
    const auto fields = fields_of(open.schema(), columns, file);
    if (!fields) {
        return fields.error();
    }
    if (const auto chosen_fields = open.choose(*fields); !chosen_fields.ok()) {
        return damaged(file, chosen_fields);
    }
    if (open.uncompressed_bytes() > settings.source_bytes_max) {
        return too_large(file, settings);
    }
    std::int64_t bytes_left = settings.source_bytes_max;
    std::int64_t first_row = 1;
    while (true) {
        const auto batch = open.next();
        if (!batch.ok()) {
            return damaged(file, batch.status());
        }
        if (*batch == nullptr) {
            return {};
        }
        auto block = block_of(**batch, columns, file, first_row, bytes_left);
        if (!block) {
            return std::move(block).error();
        }
        if (bytes_left < 0) {
            return too_large(file, settings);
        }
        first_row += block->rows;
        if (auto taken = take(*block); !taken) {
            return taken;
        }
    }
}

/// Runs what reads a file; libparquet throws where it does not return.
template <typename Read>
auto guarded(const fs::path& file, Read read) -> decltype(read()) {
    try {
        return read();
    } catch (const parquet::ParquetException& exception) { // the boundary to libparquet
        return damaged(file, arrow::Status::Invalid(exception.what()));
    }
}

} // namespace

Result<FileKind> kind_of(const fs::path& file) {
    const auto beginning = first_bytes(file);
    if (!beginning) {
        return beginning.error();
    }
    if (beginning->starts_with("PAR1")) {
        return FileKind::parquet;
    }
    if (beginning->starts_with("PARE")) {
        return Error{ErrorCode::invalid_argument, "the Parquet file is encrypted; write it without", file.string()};
    }
    if (beginning->starts_with("ARROW1")) {
        return FileKind::arrow_file;
    }
    if (beginning->starts_with("\xFF\xFF\xFF\xFF")) {
        return FileKind::arrow_stream;
    }
    return FileKind::csv;
}

Result<std::vector<std::string>> columnar_header(const fs::path& file, FileKind kind, const Settings& settings) {
    return guarded(file, [&]() -> Result<std::vector<std::string>> {
        const auto open = open_columnar(file, kind);
        if (!open.ok()) {
            return damaged(file, open.status());
        }
        const arrow::Schema& schema = (*open)->schema();
        if (static_cast<std::size_t>(schema.num_fields()) > settings.columns_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("{} columns; at most {} are allowed", schema.num_fields(), settings.columns_max),
                         file.string()};
        }
        return schema.field_names();
    });
}

Result<void> read_columnar_rows(const fs::path& file,
                                FileKind kind,
                                const std::vector<std::string>& columns,
                                const Settings& settings,
                                const TakeBlock& take) {
    arrow::util::InitializeUTF8();
    return guarded(file, [&]() -> Result<void> {
        const auto open = open_columnar(file, kind);
        return open.ok() ? read_open(**open, file, columns, settings, take) : damaged(file, open.status());
    });
}

} // namespace muster::data
