/// Reading CSV with Arrow. Every cell arrives as text: what is a number is decided over the whole column (learn.h).
#include "data/source.h"

#include <arrow/array/array_binary.h>
#include <arrow/buffer.h>
#include <arrow/csv/api.h>
#include <arrow/io/compressed.h>
#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <unordered_set>

namespace muster::data {

namespace {

/// A row whose number of cells differs from the header's.
struct RaggedRow {
    std::int64_t number{};
    std::int32_t expected{};
    std::int32_t actual{};
};

struct OpenSource {
    std::shared_ptr<arrow::csv::StreamingReader> reader; ///< absent when there is a header and not one row
    std::vector<std::string> header;
    std::shared_ptr<std::optional<RaggedRow>> ragged;
};

bool mentions(const arrow::Status& status, std::string_view words) {
    return status.message().find(words) != std::string::npos;
}

/// Says in our words what Arrow found.
Error refusal(const std::filesystem::path& path,
              const arrow::Status& status,
              const std::optional<RaggedRow>& ragged,
              const Settings& settings) {
    const std::string file = path.string();
    if (ragged) {
        return {ErrorCode::invalid_argument,
                fmt::format("the row has {} cells, but the header has {} (row 1 is the header)",
                            ragged->actual,
                            ragged->expected),
                fmt::format("{}: row {}", file, ragged->number)};
    }
    if (status.IsOutOfMemory()) {
        return {ErrorCode::resource_exhausted, "memory ran out while reading; raise --memory-limit", file};
    }
    if (mentions(status, "Empty CSV file")) {
        return {ErrorCode::invalid_argument, "the file is empty: a header and at least one row are needed", file};
    }
    if (mentions(status, "runcated compressed stream") || mentions(status, "runcated gzip")) {
        return {ErrorCode::invalid_argument, "the gzip file ends early: it was truncated, copy it again", file};
    }
    if (mentions(status, "zlib") || mentions(status, "gzip")) {
        return {ErrorCode::invalid_argument, "the gzip file is damaged (" + status.message() + ")", file};
    }
    if (mentions(status, "UTF8") || mentions(status, "UTF-8")) {
        return {ErrorCode::invalid_argument,
                "the text is not UTF-8 (" + status.message() + "); convert it, e.g. iconv -f latin1 -t utf-8",
                file};
    }
    if (mentions(status, "straddling") || mentions(status, "out of sync")) {
        return {ErrorCode::invalid_argument,
                fmt::format("a row is longer than {} bytes; is a quotation mark not closed?", settings.block_bytes),
                file};
    }
    const auto code = status.IsIOError() ? ErrorCode::unavailable : ErrorCode::invalid_argument;
    return {code, "cannot be read as CSV: " + status.message(), file};
}

/// Opens the bytes; gzip is recognised by its first two bytes, not by the name.
arrow::Result<std::shared_ptr<arrow::io::InputStream>> open_bytes(const std::filesystem::path& path) {
    ARROW_ASSIGN_OR_RAISE(auto file, arrow::io::ReadableFile::Open(path.string(), arrow::system_memory_pool()));
    ARROW_ASSIGN_OR_RAISE(const auto start, file->Read(2));
    ARROW_RETURN_NOT_OK(file->Seek(0));
    if (start->ToString() != "\x1f\x8b") {
        return file;
    }
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::util::Codec> codec,
                          arrow::util::Codec::Create(arrow::Compression::GZIP));
    // The stream borrows the codec, so both travel together.
    ARROW_ASSIGN_OR_RAISE(auto stream,
                          arrow::io::CompressedInputStream::Make(codec.get(), file, arrow::system_memory_pool()));
    struct Both {
        std::shared_ptr<arrow::util::Codec> codec;
        std::shared_ptr<arrow::io::CompressedInputStream> stream;
    };
    auto both = std::make_shared<Both>(Both{std::move(codec), std::move(stream)});
    arrow::io::InputStream* input = both->stream.get();
    return std::shared_ptr<arrow::io::InputStream>{std::move(both), input};
}

arrow::Result<std::shared_ptr<arrow::csv::StreamingReader>>
open_reader(const std::filesystem::path& path,
            const std::vector<std::string>& columns,
            const Settings& settings,
            std::shared_ptr<std::optional<RaggedRow>> ragged) {
    ARROW_ASSIGN_OR_RAISE(auto bytes, open_bytes(path));
    auto read = arrow::csv::ReadOptions::Defaults();
    read.use_threads = false; // the number of a bad row is only known to one reader
    read.block_size = settings.block_bytes;
    auto parse = arrow::csv::ParseOptions::Defaults();
    parse.newlines_in_values = true;
    parse.invalid_row_handler = [ragged = std::move(ragged)](const arrow::csv::InvalidRow& row) {
        *ragged = RaggedRow{row.number, row.expected_columns, row.actual_columns};
        return arrow::csv::InvalidRowResult::Error;
    };
    auto convert = arrow::csv::ConvertOptions::Defaults();
    convert.default_column_type = arrow::utf8();
    convert.include_columns = columns;
    return arrow::csv::StreamingReader::Make(
        arrow::io::IOContext{arrow::system_memory_pool()}, std::move(bytes), read, parse, convert);
}

Result<OpenSource>
open_source(const std::filesystem::path& path, const std::vector<std::string>& columns, const Settings& settings) {
    std::error_code failure;
    const auto status = std::filesystem::status(path, failure);
    if (!std::filesystem::exists(status)) {
        return Error{ErrorCode::not_found, "there is no such file", path.string()};
    }
    if (!std::filesystem::is_regular_file(status)) {
        return Error{ErrorCode::invalid_argument, "this is not a regular file", path.string()};
    }
    OpenSource source;
    source.ragged = std::make_shared<std::optional<RaggedRow>>();
    auto reader = open_reader(path, columns, settings, source.ragged);
    if (!reader.ok()) {
        return refusal(path, reader.status(), *source.ragged, settings);
    }
    source.reader = std::move(reader).ValueUnsafe();
    source.header = source.reader->schema()->field_names();
    return source;
}

TextColumn text_column(const arrow::Array& array) {
    const auto& text = static_cast<const arrow::StringArray&>(array);
    return {text.raw_value_offsets(), reinterpret_cast<const char*>(text.value_data()->data())};
}

} // namespace

Result<std::vector<std::string>> read_header(const std::filesystem::path& path, const Settings& settings) {
    auto source = open_source(path, {}, settings);
    if (!source) {
        return std::move(source).error();
    }
    std::unordered_set<std::string> seen;
    std::size_t position = 0;
    for (const auto& name : source->header) {
        ++position;
        const std::string where = fmt::format("{}: row 1, column {}", path.string(), position);
        if (!arrow::util::ValidateUTF8(name)) {
            return Error{ErrorCode::invalid_argument, "the column's name is not UTF-8", where};
        }
        if (name.empty()) {
            return Error{ErrorCode::invalid_argument, "the column has no name in the header", where};
        }
        if (!seen.insert(name).second) {
            return Error{ErrorCode::invalid_argument, fmt::format("the header has the name '{}' twice", name), where};
        }
    }
    if (source->header.size() > settings.columns_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} columns; at most {} are allowed", source->header.size(), settings.columns_max),
                     path.string()};
    }
    return std::move(source->header);
}

Result<void> read_rows(const std::filesystem::path& path,
                       const std::vector<std::string>& columns,
                       const Settings& settings,
                       const std::function<Result<void>(const TextBlock&)>& take) {
    auto source = open_source(path, columns, settings);
    if (!source) {
        return std::move(source).error();
    }
    constexpr std::int64_t first_data_row = 2;
    TextBlock block{.first_row = first_data_row};
    while (true) {
        std::shared_ptr<arrow::RecordBatch> batch;
        if (const auto status = source->reader->ReadNext(&batch); !status.ok()) {
            return refusal(path, status, *source->ragged, settings);
        }
        if (batch == nullptr) {
            return {};
        }
        block.rows = batch->num_rows();
        if (source->reader->bytes_read() > settings.source_bytes_max ||
            block.first_row - first_data_row + block.rows > settings.rows_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("larger than the limit of {} bytes uncompressed and {} rows",
                                     settings.source_bytes_max,
                                     settings.rows_max),
                         path.string()};
        }
        block.columns.clear();
        for (int column = 0; column < batch->num_columns(); ++column) {
            block.columns.push_back(text_column(*batch->column(column)));
        }
        if (auto taken = take(block); !taken) {
            return taken;
        }
        block.first_row += block.rows;
    }
}

} // namespace muster::data
