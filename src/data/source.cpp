#include "data/source.h"

#include "base/source_files.h"
#include "data/columnar_source.h"
#include "data/csv_source.h"
#include "data/place.h"

#include <arrow/util/utf8.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_set>

namespace muster::data {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

constexpr std::size_t names_shown = 5;

Result<Names> header_of(const fs::path& file, const RecipeCsv& csv, const Settings& settings) {
    const auto kind = kind_of(file);
    if (!kind) {
        return kind.error();
    }
    return *kind == FileKind::csv ? csv_header(file, csv, settings) : columnar_header(file, *kind, settings);
}

Result<void> check_names(const Names& names, const fs::path& file, const Settings& settings) {
    arrow::util::InitializeUTF8();
    std::unordered_set<std::string> seen;
    std::size_t position = 0;
    for (const auto& name : names) {
        ++position;
        const std::string where = fmt::format("{}: row 1, column {}", file.string(), position);
        if (!arrow::util::ValidateUTF8(name)) {
            return Error{ErrorCode::invalid_argument,
                         "the column's name is not UTF-8; if the file is Latin-1, write data.csv.encoding: latin-1 in "
                         "the recipe",
                         where};
        }
        if (name.empty()) {
            return Error{ErrorCode::invalid_argument, "the column has no name in the header", where};
        }
        if (!seen.insert(name).second) {
            return Error{ErrorCode::invalid_argument, fmt::format("the header has the name '{}' twice", name), where};
        }
    }
    if (names.size() > settings.columns_max) {
        return Error{ErrorCode::resource_exhausted,
                     fmt::format("{} columns; at most {} are allowed", names.size(), settings.columns_max),
                     file.string()};
    }
    return {};
}

/// Those of `names` that are not among `others`.
Names without(const Names& names, const Names& others) {
    Names left;
    std::ranges::copy_if(names, std::back_inserter(left), [&](const std::string& name) {
        return std::ranges::find(others, name) == others.end();
    });
    return left;
}

std::string shown(Names names) {
    const std::size_t all = names.size();
    names.resize(std::min(all, names_shown));
    return fmt::format(
        "{}{}", fmt::join(names, ", "), all > names_shown ? fmt::format(" and {} more", all - names_shown) : "");
}

/// The files of a folder are one table.
Result<void> check_alike(const Names& first, const fs::path& first_file, const Names& names, const fs::path& file) {
    const Names missing = without(first, names);
    const Names more = without(names, first);
    if (missing.empty() && more.empty()) {
        return {};
    }
    Error error{ErrorCode::invalid_argument,
                fmt::format("the columns are not those of {}:{}{}",
                            first_file.filename().string(),
                            missing.empty() ? "" : fmt::format(" there is no {};", shown(missing)),
                            more.empty() ? "" : fmt::format(" {} is only here;", shown(more))),
                file.string()};
    error.message.pop_back();
    if (!missing.empty()) {
        error.nearest = nearest_of(missing.front(), names);
    }
    return error;
}

} // namespace

Result<Names> read_header(const fs::path& source, const RecipeCsv& csv, const Settings& settings) {
    const auto files = source_files(source);
    if (!files) {
        return files.error();
    }
    Names first;
    for (const fs::path& file : *files) {
        auto names = header_of(file, csv, settings);
        if (!names) {
            return std::move(names).error();
        }
        if (auto checked = check_names(*names, file, settings); !checked) {
            return std::move(checked).error();
        }
        if (file == files->front()) {
            first = std::move(*names);
        } else if (auto alike = check_alike(first, files->front(), *names, file); !alike) {
            return std::move(alike).error();
        }
    }
    return first;
}

Result<void> read_rows(const fs::path& source,
                       const RecipeCsv& csv,
                       const Names& columns,
                       const Settings& settings,
                       const TakeBlock& take) {
    const auto files = source_files(source);
    if (!files) {
        return files.error();
    }
    const bool folder = files->front() != source;
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < files->size(); ++i) {
        const fs::path& file = (*files)[i];
        const TakeBlock take_own = [&](const TextBlock& block) -> Result<void> {
            rows += block.rows;
            if (rows > settings.rows_max) {
                return Error{ErrorCode::resource_exhausted,
                             fmt::format("more than {} rows", settings.rows_max),
                             source.string()};
            }
            if (!folder) {
                return take(block);
            }
            return take({.first_row = row_of_file(i, block.first_row), .rows = block.rows, .columns = block.columns});
        };
        const auto kind = kind_of(file);
        if (!kind) {
            return kind.error();
        }
        auto read = *kind == FileKind::csv ? read_csv_rows(file, csv, columns, settings, take_own)
                                           : read_columnar_rows(file, *kind, columns, settings, take_own);
        if (!read) {
            return read;
        }
    }
    return {};
}

} // namespace muster::data
