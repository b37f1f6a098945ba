/// Reading CSV with Arrow's parser. Every cell stays text: what is a number is decided over the whole column (learn.h).
/// Arrow's own StreamingReader is not used: it reads ahead in threads that count against the memory limit, and when one
/// of them drops the last reference to the reader it waits for the pool it runs in.
#include "data/source.h"

#include "base/assert.h"
#include "data/place.h"

#include <arrow/buffer.h>
#include <arrow/csv/options.h>
#include <arrow/csv/parser.h>
#include <arrow/io/compressed.h>
#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/util/compression.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_set>

namespace muster::data {

namespace {

constexpr std::int64_t first_data_row = 2; // row 1 is the header

bool mentions(const arrow::Status& status, std::string_view words) {
    return status.message().find(words) != std::string::npos;
}

/// Says in our words what Arrow's streams found.
Error reading_refusal(const std::string& file, const arrow::Status& status) {
    if (status.IsOutOfMemory()) {
        return {ErrorCode::resource_exhausted, "memory ran out while reading; raise --memory-limit", file};
    }
    if (mentions(status, "runcated compressed stream")) {
        return {ErrorCode::invalid_argument, "the gzip file ends early: it was truncated, copy it again", file};
    }
    if (mentions(status, "zlib")) {
        return {ErrorCode::invalid_argument, "the gzip file is damaged (" + status.message() + ")", file};
    }
    return {ErrorCode::unavailable, "cannot be read: " + status.message(), file};
}

/// Opens the bytes; gzip is recognised by its first two bytes, not by the name.
arrow::Result<std::shared_ptr<arrow::io::InputStream>> open_bytes(const std::filesystem::path& path) {
    ARROW_ASSIGN_OR_RAISE(auto file, arrow::io::ReadableFile::Open(path.string(), arrow::system_memory_pool()));
    ARROW_ASSIGN_OR_RAISE(const auto start, file->Read(2));
    ARROW_RETURN_NOT_OK(file->Seek(0));
    if (start->ToString() != "\x1f\x8b") {
        return file;
    }
    struct Both { // the stream borrows the codec, so both travel together
        std::shared_ptr<arrow::util::Codec> codec;
        std::shared_ptr<arrow::io::CompressedInputStream> stream;
    };
    auto both = std::make_shared<Both>();
    ARROW_ASSIGN_OR_RAISE(both->codec, arrow::util::Codec::Create(arrow::Compression::GZIP));
    ARROW_ASSIGN_OR_RAISE(
        both->stream,
        arrow::io::CompressedInputStream::Make(both->codec.get(), std::move(file), arrow::system_memory_pool()));
    arrow::io::InputStream* input = both->stream.get();
    return std::shared_ptr<arrow::io::InputStream>{std::move(both), input};
}

/// A source being read, in one thread. Holds the bytes that are read and not yet parsed: little more than a block.
class Reader {
public:
    Reader(std::string file, std::shared_ptr<arrow::io::InputStream> bytes, const Settings& settings)
        : file_{std::move(file)}, bytes_{std::move(bytes)}, settings_{settings} {}

    /// Returns a parser that holds up to `rows_max` next rows, or the header's cells when it is called first; one
    /// without rows at the end of the file.
    Result<std::unique_ptr<arrow::csv::BlockParser>> next(std::int32_t rows_max) {
        if (auto filled = fill(); !filled) {
            return std::move(filled).error();
        }
        struct RaggedRow {
            std::int64_t number;
            std::int32_t actual;
        };
        std::optional<RaggedRow> ragged;
        auto options = arrow::csv::ParseOptions::Defaults();
        options.newlines_in_values = true;
        options.ignore_empty_lines = true; // also what is left of a CR LF that two blocks share
        options.invalid_row_handler = [&](const arrow::csv::InvalidRow& row) {
            ragged = RaggedRow{row.number, row.actual_columns};
            return arrow::csv::InvalidRowResult::Error;
        };
        auto parser = std::make_unique<arrow::csv::BlockParser>(
            arrow::system_memory_pool(), options, cells_, next_row_, rows_max);
        std::uint32_t parsed{};
        const auto status = ended_ ? parser->ParseFinal(pending_, &parsed) : parser->Parse(pending_, &parsed);
        if (ragged) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("the row has {} cells, but the header has {} (row 1 is the header)",
                                     ragged->actual,
                                     cells_),
                         fmt::format("{}: row {}", file_, ragged->number)};
        }
        if (mentions(status, "Empty CSV")) {
            return Error{
                ErrorCode::invalid_argument, "the file is empty: a header and at least one row are needed", file_};
        }
        if (!status.ok()) {
            return Error{ErrorCode::invalid_argument,
                         "this is not CSV: " + status.message(),
                         fmt::format("{}: row {}", file_, next_row_)};
        }
        // A block that ends in the middle of a row is normal; one without a single whole row is not.
        if (parsed == 0 && !pending_.empty()) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("the row does not end within {} bytes; is a quotation mark not closed?",
                                     settings_.block_bytes),
                         fmt::format("{}: row {}", file_, next_row_)};
        }
        pending_.erase(0, parsed);
        next_row_ += parser->num_rows();
        if (parser->num_rows() > 0) {
            cells_ = parser->num_cols();
        }
        return parser;
    }
    [[nodiscard]] bool ended() const { return ended_ && pending_.empty(); }
    [[nodiscard]] std::int64_t next_row() const { return next_row_; }

private:
    /// Reads until a block is pending or the file ends.
    Result<void> fill() {
        const auto block = static_cast<std::size_t>(settings_.block_bytes);
        while (!ended_ && pending_.size() < block) {
            const auto read = bytes_->Read(static_cast<std::int64_t>(block - pending_.size()));
            if (!read.ok()) {
                return reading_refusal(file_, read.status());
            }
            std::string_view text{**read};
            ended_ = text.empty();
            if (read_bytes_ == 0 && text.starts_with(byte_order_mark)) {
                text.remove_prefix(byte_order_mark.size());
            }
            read_bytes_ += (*read)->size();
            if (read_bytes_ > settings_.source_bytes_max) {
                return Error{ErrorCode::resource_exhausted,
                             fmt::format("larger than {} bytes uncompressed", settings_.source_bytes_max),
                             file_};
            }
            pending_ += text;
        }
        return {};
    }

    static constexpr std::string_view byte_order_mark{"\xEF\xBB\xBF"};

    std::string file_;
    std::shared_ptr<arrow::io::InputStream> bytes_;
    const Settings& settings_;
    std::string pending_;
    bool ended_{};
    std::int64_t read_bytes_{};
    std::int64_t next_row_{1};
    std::int32_t cells_{-1}; ///< of each row; -1 before the header
};

/// An open source, past its header.
struct OpenSource {
    Reader reader;
    std::vector<std::string> header;
};

TextColumn column_of(const arrow::csv::BlockParser& parser, std::int32_t column) {
    TextColumn cells;
    cells.reserve(static_cast<std::size_t>(parser.num_rows()));
    const auto visited = parser.VisitColumn(column, [&](const std::uint8_t* text, std::uint32_t size, bool, bool) {
        cells.emplace_back(reinterpret_cast<const char*>(text), size);
        return arrow::Status::OK();
    });
    MUSTER_ASSERT(visited.ok()); // only the visitor could fail
    return cells;
}

/// Errors: not_found; invalid_argument; what reading_refusal says.
Result<std::shared_ptr<arrow::io::InputStream>> open_file(const std::filesystem::path& path) {
    const std::string file = path.string();
    std::error_code failure;
    const auto status = std::filesystem::status(path, failure);
    if (!std::filesystem::exists(status)) {
        return Error{ErrorCode::not_found, "there is no such file", file};
    }
    if (!std::filesystem::is_regular_file(status)) {
        return Error{ErrorCode::invalid_argument, "this is not a regular file", file};
    }
    auto bytes = open_bytes(path);
    if (!bytes.ok()) {
        return reading_refusal(file, bytes.status());
    }
    return std::move(bytes).ValueUnsafe();
}

Result<OpenSource> open_source(const std::filesystem::path& path, const Settings& settings) {
    arrow::util::InitializeUTF8();
    auto bytes = open_file(path);
    if (!bytes) {
        return std::move(bytes).error();
    }
    OpenSource source{.reader = Reader{path.string(), *std::move(bytes), settings}, .header = {}};
    const auto parser = source.reader.next(1);
    if (!parser) {
        return parser.error();
    }
    for (std::int32_t column = 0; column < (*parser)->num_cols(); ++column) {
        source.header.emplace_back(column_of(**parser, column).front());
    }
    return source;
}

/// Errors: invalid_argument, naming the first cell that is no UTF-8.
Result<void> check_text(const TextColumn& cells, const std::string& file, std::int64_t row, const std::string& column) {
    for (const auto cell : cells) {
        if (!arrow::util::ValidateUTF8(cell)) {
            return Error{ErrorCode::invalid_argument,
                         "the text is not UTF-8; convert the file, e.g. iconv -f latin1 -t utf-8",
                         place_in(file, row, column)};
        }
        ++row;
    }
    return {};
}

} // namespace

Result<std::vector<std::string>> read_header(const std::filesystem::path& path, const Settings& settings) {
    auto source = open_source(path, settings);
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
    auto source = open_source(path, settings);
    if (!source) {
        return std::move(source).error();
    }
    std::vector<std::int32_t> positions;
    for (const auto& name : columns) {
        const auto found = std::ranges::find(source->header, name);
        MUSTER_ASSERT(found != source->header.end());
        positions.push_back(static_cast<std::int32_t>(found - source->header.begin()));
    }
    while (!source->reader.ended()) {
        TextBlock block{.first_row = source->reader.next_row()};
        const auto parser = source->reader.next(arrow::csv::kMaxParserNumRows);
        if (!parser) {
            return parser.error();
        }
        block.rows = (*parser)->num_rows();
        if (source->reader.next_row() - first_data_row > settings.rows_max) {
            return Error{
                ErrorCode::resource_exhausted, fmt::format("more than {} rows", settings.rows_max), path.string()};
        }
        for (std::size_t i = 0; i < positions.size(); ++i) {
            block.columns.push_back(column_of(**parser, positions[i]));
            if (auto checked = check_text(block.columns.back(), path.string(), block.first_row, columns[i]); !checked) {
                return checked;
            }
        }
        if (auto taken = take(block); !taken) {
            return taken;
        }
    }
    return {};
}

Result<void> read_bytes(const std::filesystem::path& path,
                        const Settings& settings,
                        const std::function<Result<void>(std::string_view)>& take) {
    const auto bytes = open_file(path);
    if (!bytes) {
        return bytes.error();
    }
    std::int64_t read_so_far = 0;
    while (true) {
        const auto read = (*bytes)->Read(settings.block_bytes);
        if (!read.ok()) {
            return reading_refusal(path.string(), read.status());
        }
        const std::string_view piece{**read};
        if (piece.empty()) {
            return {};
        }
        read_so_far += (*read)->size();
        if (read_so_far > settings.source_bytes_max) {
            return Error{ErrorCode::resource_exhausted,
                         fmt::format("larger than {} bytes uncompressed", settings.source_bytes_max),
                         path.string()};
        }
        if (auto taken = take(piece); !taken) {
            return taken;
        }
    }
}

} // namespace muster::data
