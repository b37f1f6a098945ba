#include "data/windows.h"

#include "base/cell.h"
#include "base/fd.h"
#include "base/time_text.h"
#include "data/encode.h"
#include "data/place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <system_error>

namespace muster::data {
namespace {

constexpr float no_sample = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t rows_written_at_once = 256;

/// Rows of a file of encoded rows, by position. The file is gone at the end.
class EncodedRows {
public:
    EncodedRows(std::filesystem::path path, std::int64_t columns)
        : path_{std::move(path)}, fd_{::open(path_.c_str(), O_RDONLY | O_CLOEXEC)},
          row_(static_cast<std::size_t>(columns)) {}
    ~EncodedRows() {
        std::error_code ignored; // the folder goes with it
        std::filesystem::remove(path_, ignored);
    }
    EncodedRows(const EncodedRows&) = delete;
    EncodedRows& operator=(const EncodedRows&) = delete;

    /// Valid until the next call. Errors: unavailable.
    Result<std::span<const float>> read(std::int64_t position) {
        const std::size_t bytes = row_.size() * sizeof(float);
        const ssize_t count = ::pread(fd_.get(), row_.data(), bytes, position * static_cast<std::int64_t>(bytes));
        if (count != static_cast<ssize_t>(bytes)) {
            return Error{ErrorCode::unavailable,
                         "cannot be read again: " + std::system_category().message(count < 0 ? errno : EIO),
                         path_.string()};
        }
        return std::span<const float>{row_};
    }

private:
    std::filesystem::path path_;
    UniqueFd fd_;
    std::vector<float> row_;
};

/// Encodes all rows in the order of the source into a file of their own.
Result<void> encode_in_order(const std::filesystem::path& source,
                             const UsedColumns& columns,
                             const Preprocessing& preprocessing,
                             const std::filesystem::path& path,
                             MatrixFiles& files,
                             const Settings& settings,
                             SeriesRows& rows) {
    auto encoded = MatrixFile::create(path);
    if (!encoded) {
        return std::move(encoded).error();
    }
    Encoder encoder{preprocessing, source.string(), true};
    auto read = read_rows(source, columns.csv, columns.all(), settings, [&](const TextBlock& block) -> Result<void> {
        if (auto counted = files.count(block.rows); !counted) {
            return counted;
        }
        if (auto done = encoder.encode(block); !done) {
            return done;
        }
        if (auto taken = rows.take(block, encoder.target()); !taken) {
            return taken;
        }
        return encoded->append(encoder.features());
    });
    if (!read) {
        return read;
    }
    auto finished = encoded->finish();
    return finished ? Result<void>{} : Result<void>{std::move(finished).error()};
}

} // namespace

SeriesRows::SeriesRows(const RecipeWindows& windows, const UsedColumns& columns, std::string source)
    : windows_{windows}, columns_{columns}, source_{std::move(source)} {}

std::int64_t SeriesRows::row_number(std::int64_t position) const {
    const auto next = std::ranges::upper_bound(blocks_, position, {}, &std::pair<std::int64_t, std::int64_t>::first);
    const auto& [first_position, first_row] = *std::prev(next); // the first block begins at 0
    return first_row + position - first_position;
}

std::string SeriesRows::file_row(std::int64_t position, const std::string& column) const {
    return place_in(source_, row_number(position), column);
}

Result<void> SeriesRows::take(const TextBlock& block, std::span<const float> targets) {
    blocks_.emplace_back(std::ssize(rows_), block.first_row);
    for (std::size_t i = 0; i < static_cast<std::size_t>(block.rows); ++i) {
        Row row{.position = std::ssize(rows_), .series = 0, .time = static_cast<double>(rows_.size())};
        if (const auto position = columns_.series_position()) {
            const std::string_view name = block.columns[*position][i];
            if (is_missing(name)) {
                return Error{ErrorCode::invalid_argument,
                             "no series is named; every row needs one",
                             file_row(row.position, columns_.series)};
            }
            row.series = series_.emplace(name, std::ssize(series_)).first->second;
        }
        if (const auto position = columns_.time_position()) {
            const auto time = parse_time(block.columns[*position][i]);
            if (!time) {
                return Error{ErrorCode::invalid_argument,
                             fmt::format("{} is no time; a number or an ISO 8601 date such as 2026-01-31T09:15 is",
                                         excerpt(block.columns[*position][i])),
                             file_row(row.position, columns_.time)};
            }
            row.time = *time;
        }
        rows_.push_back(row);
    }
    targets_.insert(targets_.end(), targets.begin(), targets.end());
    return {};
}

Result<void> SeriesRows::order_rows() {
    const auto key = [](const Row& row) { return std::pair{row.series, row.time}; };
    std::ranges::stable_sort(rows_, {}, key);
    const auto twice = std::ranges::adjacent_find(rows_, {}, key);
    if (twice == rows_.end()) {
        return {};
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("the time is that of {}{}",
                             row_in(source_, row_number(twice->position)),
                             columns_.series.empty()
                                 ? "; name the column that tells series apart in data.windows.series"
                                 : ", of the same series"),
                 file_row(std::next(twice)->position, columns_.time)};
}

double SeriesRows::median_step() const {
    std::vector<double> steps;
    for (std::size_t i = 1; i < rows_.size(); ++i) {
        if (rows_[i].series == rows_[i - 1].series) {
            steps.push_back(rows_[i].time - rows_[i - 1].time);
        }
    }
    if (steps.empty()) {
        return 1.0;
    }
    const auto middle = steps.begin() + std::ssize(steps) / 2;
    std::ranges::nth_element(steps, middle);
    return *middle;
}

void SeriesRows::set_targets(std::span<const Row> series, double step, std::span<float> targets) const {
    std::ranges::fill(targets, no_sample);
    targets.front() = series_begins;
    std::size_t later = 0;
    for (auto row = static_cast<std::size_t>(windows_.length) - 1; row < series.size(); ++row) {
        const double wanted = series[row].time + step * static_cast<double>(windows_.horizon);
        while (later < series.size() && series[later].time < wanted - step / 2) {
            ++later;
        }
        if (later < series.size() && series[later].time <= wanted + step / 2) {
            targets[row] = targets_[static_cast<std::size_t>(series[later].position)];
        }
    }
}

Result<ArrangedRows> SeriesRows::finish() {
    if (auto ordered = order_rows(); !ordered) {
        return std::move(ordered).error();
    }
    const double step = median_step();
    ArrangedRows arranged{.order = {}, .target = std::vector<float>(rows_.size()), .step = 0.0};
    arranged.step = columns_.time.empty() ? 0.0 : step;
    const std::span<const Row> rows{rows_};
    for (std::size_t begin = 0; begin < rows.size();) {
        std::size_t end = begin;
        while (end < rows.size() && rows[end].series == rows[begin].series) {
            arranged.order.push_back(rows[end].position);
            ++end;
        }
        set_targets(rows.subspan(begin, end - begin), step, std::span{arranged.target}.subspan(begin, end - begin));
        begin = end;
    }
    if (std::ranges::none_of(arranged.target, [](float target) { return std::isfinite(target); })) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("no series has {} rows and {} more to forecast: make data.windows.length smaller, or "
                                 "bring more rows",
                                 windows_.length,
                                 windows_.horizon),
                     source_};
    }
    return arranged;
}

Result<void> write_windows(const std::filesystem::path& source,
                           const RecipeWindows& windows,
                           const UsedColumns& columns,
                           const Preprocessing& preprocessing,
                           MatrixFiles& files,
                           const Settings& settings,
                           double& step) {
    SeriesRows rows{windows, columns, source.string()};
    const std::filesystem::path unordered = files.prefix().string() + ".unordered";
    if (auto done = encode_in_order(source, columns, preprocessing, unordered, files, settings, rows); !done) {
        return done;
    }
    const auto arranged = rows.finish();
    if (!arranged) {
        return arranged.error();
    }
    step = arranged->step;
    EncodedRows encoded{unordered, preprocessing.encoded_columns()};
    const std::span<const float> targets{arranged->target};
    std::vector<float> piece;
    for (std::size_t begin = 0; begin < targets.size(); begin += rows_written_at_once) {
        const std::size_t end = std::min(targets.size(), begin + rows_written_at_once);
        piece.clear();
        for (std::size_t i = begin; i < end; ++i) {
            const auto row = encoded.read(arranged->order[i]);
            if (!row) {
                return row.error();
            }
            piece.insert(piece.end(), row->begin(), row->end());
        }
        if (auto appended = files.append(piece, targets.subspan(begin, end - begin)); !appended) {
            return appended;
        }
    }
    return {};
}

} // namespace muster::data
