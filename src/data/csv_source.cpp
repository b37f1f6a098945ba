/// Reading CSV with Arrow's parser. Every cell stays text: what is a number is decided over the whole column (learn.h).
/// Arrow's own StreamingReader is not used: it reads ahead in threads that count against the memory limit, and when one
/// of them drops the last reference to the reader it waits for the pool it runs in.
#include "data/csv_source.h"

#include "base/assert.h"
#include "base/cell.h"
#include "base/csv_dialect.h"
#include "data/bytes.h"
#include "data/place.h"
#include "data/read_ahead.h"

#include <arrow/buffer.h>
#include <arrow/csv/options.h>
#include <arrow/csv/parser.h>
#include <arrow/memory_pool.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

namespace muster::data {

namespace {

constexpr std::size_t guess_bytes = 1 << 16; // of the beginning, for the dialect

bool mentions(const arrow::Status& status, std::string_view words) {
    return status.message().find(words) != std::string::npos;
}

/// A source being read, in one thread. Holds the bytes that are read and not yet parsed: little more than a block.
class Reader {
public:
    Reader(std::string file,
           std::shared_ptr<arrow::io::InputStream> bytes,
           CsvEncoding encoding,
           const Settings& settings)
        : file_{std::move(file)}, bytes_{std::move(bytes)}, encoding_{encoding}, settings_{settings} {}

    /// The beginning of what comes next.
    Result<std::string_view> look_ahead() {
        if (auto filled = fill(); !filled) {
            return std::move(filled).error();
        }
        return std::string_view{pending_}.substr(0, guess_bytes);
    }
    void without_header() { first_row_ = "first row"; }
    void set_delimiter(char delimiter) { delimiter_ = delimiter; }
    /// How many cells rows have; not said: as many as the first one.
    void set_cells(std::size_t cells) { cells_ = static_cast<std::int32_t>(cells); }

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
        options.delimiter = delimiter_;
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
                         fmt::format("the row has {} cells, but the {} has {} (row 1; cells are divided by {})",
                                     ragged->actual,
                                     first_row_,
                                     cells_,
                                     delimiter_ == '\t' ? "tabs" : fmt::format("'{}'", delimiter_)),
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
            take(text);
        }
        return {};
    }

    void take(std::string_view text) {
        if (encoding_ == CsvEncoding::utf8) {
            pending_ += text;
            return;
        }
        for (const char c : text) { // Latin-1 is the beginning of Unicode
            const auto code = static_cast<unsigned char>(c);
            if (code < 0x80) {
                pending_ += c;
            } else {
                pending_ += static_cast<char>(0xC0U | (code >> 6U));
                pending_ += static_cast<char>(0x80U | (code & 0x3FU));
            }
        }
    }

    static constexpr std::string_view byte_order_mark{"\xEF\xBB\xBF"};

    std::string file_;
    std::shared_ptr<arrow::io::InputStream> bytes_;
    CsvEncoding encoding_;
    const Settings& settings_;
    const char* first_row_{"header"};
    char delimiter_{','};
    std::string pending_;
    bool ended_{};
    std::int64_t read_bytes_{};
    std::int64_t next_row_{1};
    std::int32_t cells_{-1}; ///< of each row; -1 before the header
};

/// An open source, past its header.
struct OpenSource {
    Reader reader;
    CsvDialect dialect{};
    std::vector<std::string> header{};
    bool has_header{true}; ///< row 1 is it
};

/// What a cell says: spaces after a delimiter belong to nobody, and neither do quotation marks after such spaces.
std::string_view bare(std::string_view cell) {
    cell = trimmed(cell);
    const bool quoted = cell.size() >= 2 && cell.front() == '"' && cell.back() == '"';
    return quoted ? cell.substr(1, cell.size() - 2) : cell;
}

TextColumn column_of(const arrow::csv::BlockParser& parser, std::int32_t column) {
    TextColumn cells;
    cells.reserve(static_cast<std::size_t>(parser.num_rows()));
    const auto visited =
        parser.VisitColumn(column, [&](const std::uint8_t* text, std::uint32_t size, bool quoted, bool) {
            const std::string_view cell{reinterpret_cast<const char*>(text), size};
            cells.push_back(quoted ? cell : bare(cell));
            return arrow::Status::OK();
        });
    MUSTER_ASSERT(visited.ok()); // only the visitor could fail
    return cells;
}

/// Writes decimal commas as points. `rewritten` keeps what cells then point to.
void use_points(TextColumn& cells, std::deque<std::string>& rewritten) {
    for (std::string_view& cell : cells) {
        if (auto number = with_decimal_point(cell)) {
            cell = rewritten.emplace_back(*std::move(number));
        }
    }
}

/// Names that are all numbers are more likely the first row of a file without names.
Result<void> check_names_are_names(const std::vector<std::string>& header, const std::string& file) {
    const auto is_number = [](const std::string& name) {
        return parse_cell(name).kind == CellKind::number || with_decimal_point(name).has_value();
    };
    if (header.empty() || !std::ranges::all_of(header, is_number)) {
        return {};
    }
    return Error{
        ErrorCode::invalid_argument,
        "the first row has only numbers; if the file has no header, write data.csv.header: false in the recipe, "
        "if these are names, write true",
        file + ": row 1"};
}

/// Reads the first row, or makes names up.
Result<void> find_names(OpenSource& source, const RecipeCsv& csv, const std::string& file) {
    source.has_header = csv.header.value_or(true);
    if (source.has_header) {
        const auto parser = source.reader.next(1);
        if (!parser) {
            return parser.error();
        }
        for (std::int32_t column = 0; column < (*parser)->num_cols(); ++column) {
            source.header.emplace_back(column_of(**parser, column).front());
        }
        if (auto names = csv.header ? Result<void>{} : check_names_are_names(source.header, file); !names) {
            return names;
        }
    }
    const auto ahead = source.reader.look_ahead();
    if (!ahead) {
        return ahead.error();
    }
    const std::size_t cells = cells_of_first_record(*ahead, source.dialect.delimiter);
    if (!source.has_header) {
        source.reader.without_header();
        if (cells > 0) {
            source.reader.set_cells(cells);
        }
        for (std::size_t column = 1; column <= cells; ++column) {
            source.header.push_back(fmt::format("column_{}", column));
        }
    } else if (cells == source.header.size() + 1) {
        source.header.insert(source.header.begin(), "row_name");
        source.reader.set_cells(cells);
    }
    return {};
}

Result<OpenSource> open_source(const std::filesystem::path& path, const RecipeCsv& csv, const Settings& settings) {
    arrow::util::InitializeUTF8();
    auto bytes = open_file(path);
    if (!bytes) {
        return std::move(bytes).error();
    }
    OpenSource source{.reader = Reader{path.string(), *std::move(bytes), csv.encoding, settings}};
    const auto beginning = source.reader.look_ahead();
    if (!beginning) {
        return beginning.error();
    }
    source.dialect = guess_dialect(*beginning, csv.delimiter, csv.decimal);
    source.reader.set_delimiter(source.dialect.delimiter);
    if (auto found = find_names(source, csv, path.string()); !found) {
        return std::move(found).error();
    }
    return source;
}

/// Errors: invalid_argument, naming the first cell that is no UTF-8.
Result<void> check_text(const TextColumn& cells, const std::string& file, std::int64_t row, const std::string& column) {
    for (const auto cell : cells) {
        if (!arrow::util::ValidateUTF8(cell)) {
            return Error{ErrorCode::invalid_argument,
                         "the text is not UTF-8; if it is Latin-1, write data.csv.encoding: latin-1 in the recipe",
                         place_in(file, row, column)};
        }
        ++row;
    }
    return {};
}

/// Rows with the parser that holds their cells.
struct ParsedBlock {
    std::unique_ptr<arrow::csv::BlockParser> parser;
    TextBlock block;
};

/// The next rows of a source; nothing at its end.
Result<std::optional<ParsedBlock>> parse_block(OpenSource& source,
                                               const std::vector<std::int32_t>& positions,
                                               const std::vector<std::string>& columns,
                                               const std::filesystem::path& path) {
    if (source.reader.ended()) {
        return std::optional<ParsedBlock>{};
    }
    ParsedBlock parsed{.parser = {}, .block = {.first_row = source.reader.next_row()}};
    auto parser = source.reader.next(arrow::csv::kMaxParserNumRows);
    if (!parser) {
        return std::move(parser).error();
    }
    parsed.parser = std::move(*parser);
    TextBlock& block = parsed.block;
    block.rows = parsed.parser->num_rows();
    for (std::size_t i = 0; i < positions.size(); ++i) {
        block.columns.push_back(column_of(*parsed.parser, positions[i]));
        if (source.dialect.decimal == ',') {
            use_points(block.columns.back(), block.rewritten);
        }
        if (auto checked = check_text(block.columns.back(), path.string(), block.first_row, columns[i]); !checked) {
            return std::move(checked).error();
        }
    }
    return std::optional{std::move(parsed)};
}

} // namespace

Result<std::vector<std::string>>
csv_header(const std::filesystem::path& file, const RecipeCsv& csv, const Settings& settings) {
    auto source = open_source(file, csv, settings);
    return source ? Result<std::vector<std::string>>{std::move(source->header)} : std::move(source).error();
}

Result<CsvDialect> csv_dialect(const std::filesystem::path& file, const RecipeCsv& csv, const Settings& settings) {
    const auto source = open_source(file, csv, settings);
    return source ? Result<CsvDialect>{source->dialect} : source.error();
}

Result<void> read_csv_rows(const std::filesystem::path& path,
                           const RecipeCsv& csv,
                           const std::vector<std::string>& columns,
                           const Settings& settings,
                           const TakeBlock& take) {
    auto source = open_source(path, csv, settings);
    if (!source) {
        return std::move(source).error();
    }
    std::vector<std::int32_t> positions;
    for (const auto& name : columns) {
        const auto found = std::ranges::find(source->header, name);
        if (found == source->header.end()) {
            return Error{ErrorCode::unavailable, "the file changed while it was read; try again", path.string()};
        }
        positions.push_back(static_cast<std::int32_t>(found - source->header.begin()));
    }
    // Parsing takes about as long as what becomes of the rows: two threads, each with a block.
    ReadAhead<ParsedBlock> blocks{[&] { return parse_block(*source, positions, columns, path); }};
    while (true) {
        auto parsed = blocks.next();
        if (!parsed) {
            return std::move(parsed).error();
        }
        if (!*parsed) {
            return {};
        }
        if (auto taken = take((*parsed)->block); !taken) {
            return taken;
        }
    }
}

} // namespace muster::data
