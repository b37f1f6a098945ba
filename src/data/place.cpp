#include "data/place.h"

#include "base/source_files.h"

#include <fmt/format.h>

#include <filesystem>

namespace muster::data {

namespace {

constexpr unsigned row_bits = 44; // leaves 19 for the file, more than source_files_max

/// A row number taken apart again.
struct FileRow {
    std::string file;
    bool in_folder{};
    std::int64_t row{};
};

FileRow file_row(const std::string& source, std::int64_t row) {
    const auto file = static_cast<std::size_t>(row >> row_bits);
    if (file == 0) {
        return {source, false, row};
    }
    const auto files = source_files(source);
    return {files && file <= files->size() ? (*files)[file - 1].string() : source,
            true,
            row & ((std::int64_t{1} << row_bits) - 1)};
}

} // namespace

std::int64_t row_of_file(std::size_t file, std::int64_t row) {
    return static_cast<std::int64_t>((file + 1) << row_bits) + row;
}

std::string place_in(const std::string& source, std::int64_t row, const std::string& column) {
    const FileRow place = file_row(source, row);
    return place.row > 0 ? fmt::format("{}: row {}, column {}", place.file, place.row, column)
                         : fmt::format("{}: column {}", place.file, column);
}

std::string row_in(const std::string& source, std::int64_t row) {
    const FileRow place = file_row(source, row);
    return place.in_folder ? fmt::format("{}: row {}", std::filesystem::path{place.file}.filename().string(), place.row)
                           : fmt::format("row {}", place.row);
}

std::string excerpt(std::string_view text) {
    constexpr std::size_t shown_max = 40;
    if (text.size() <= shown_max) {
        return fmt::format("\"{}\"", text);
    }
    // Never cut a UTF-8 character in two.
    std::size_t end = shown_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return fmt::format("\"{}...\"", text.substr(0, end));
}

} // namespace muster::data
