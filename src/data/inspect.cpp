#include "data/inspect.h"

#include "base/cell.h"
#include "base/source_files.h"
#include "data/columnar_source.h"
#include "data/csv_source.h"
#include "data/learn.h"
#include "data/place.h"
#include "data/source.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace muster::data {
namespace {

using nlohmann::json;

constexpr std::size_t examples_max = 12;
constexpr std::size_t first_rows_max = 5;

/// How two columns of numbers go together, over rows where both have one (Welford).
class Correlation {
public:
    void take(double x, double y) {
        if (std::isnan(x) || std::isnan(y)) {
            return;
        }
        count_ += 1.0;
        const double dx = x - mean_x_;
        const double dy = y - mean_y_;
        mean_x_ += dx / count_;
        mean_y_ += dy / count_;
        squares_x_ += dx * (x - mean_x_);
        squares_y_ += dy * (y - mean_y_);
        products_ += dx * (y - mean_y_);
    }
    /// -1 to 1; NaN where one does not vary.
    [[nodiscard]] double value() const { return products_ / std::sqrt(squares_x_ * squares_y_); }

private:
    double count_{};
    double mean_x_{};
    double mean_y_{};
    double squares_x_{};
    double squares_y_{};
    double products_{};
};

/// One column while it is read.
struct Seen {
    explicit Seen(const Settings& settings) : facts{settings.categories_max} {}

    ColumnFacts facts;
    std::int64_t missing{};
    double low{std::numeric_limits<double>::infinity()};
    double high{-std::numeric_limits<double>::infinity()};
    bool whole{true};
    Correlation correlation{};
};

double number_of(std::string_view text) {
    const Cell cell = parse_cell(text);
    return cell.kind == CellKind::number ? cell.value : std::numeric_limits<double>::quiet_NaN();
}

/// All columns of a source while they are read.
class Inspector {
public:
    Inspector(std::vector<std::string> names, const std::string& target, std::string source, const Settings& settings)
        : names_{std::move(names)}, source_{std::move(source)}, settings_{settings},
          columns_(names_.size(), Seen{settings}) {
        const auto found = std::ranges::find(names_, target);
        target_ = static_cast<std::size_t>(found - names_.begin());
    }

    void take(const TextBlock& block) {
        for (std::size_t row = 0; row < static_cast<std::size_t>(block.rows); ++row) {
            const double target = target_ < names_.size() ? number_of(block.columns[target_][row])
                                                          : std::numeric_limits<double>::quiet_NaN();
            if (first_rows_.size() < first_rows_max) {
                first_rows_.push_back(json::array());
                for (const TextColumn& column : block.columns) {
                    first_rows_.back().push_back(std::string{column[row]});
                }
            }
            for (std::size_t i = 0; i < columns_.size(); ++i) {
                take(columns_[i], block.columns[i][row], block.first_row + static_cast<std::int64_t>(row), target);
            }
        }
        rows_ += block.rows;
    }

    [[nodiscard]] json result() const {
        json columns = json::array();
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            columns.push_back(column_of(i));
        }
        return {{"rows", rows_}, {"columns", std::move(columns)}, {"first_rows", first_rows_}};
    }

private:
    static void take(Seen& seen, std::string_view text, std::int64_t row, double target) {
        seen.facts.take(text, row);
        seen.missing += is_missing(text) ? 1 : 0;
        const double number = number_of(text);
        if (std::isnan(number)) {
            return;
        }
        seen.low = std::min(seen.low, number);
        seen.high = std::max(seen.high, number);
        seen.whole = seen.whole && number == std::floor(number);
        seen.correlation.take(number, target);
    }

    [[nodiscard]] json column_of(std::size_t i) const {
        const Seen& seen = columns_[i];
        const ColumnFacts& facts = seen.facts;
        const bool numbers = facts.values() > 0 && facts.first_text().row == 0;
        const bool mixed = !numbers && facts.numeric_part() > 0.0;
        auto categories = facts.categories();
        const bool many = categories.size() > settings_.categories_max;
        json column{{"name", names_[i]},
                    {"kind",
                     facts.values() == 0 ? "empty"
                     : numbers           ? "number"
                     : facts.all_dates() ? "date"
                     : mixed             ? "mixed"
                                         : "text"},
                    {"missing", seen.missing},
                    {"categories", many ? json(nullptr) : json(categories.size())}};
        categories.resize(std::min(categories.size(), examples_max));
        column["examples"] = json::array();
        for (const CategoryCount& category : categories) {
            column["examples"].push_back(category.name);
        }
        if (mixed) {
            column["first_text"] = place_in(source_, facts.first_text().row, names_[i]);
        }
        if (numbers) {
            column.update({{"min", seen.low},
                           {"max", seen.high},
                           {"mean", facts.mean()},
                           {"deviation", seen.low == seen.high ? 0.0 : facts.scale()},
                           {"whole", seen.whole}});
            if (const double value = seen.correlation.value(); i != target_ && std::isfinite(value)) {
                column["correlation"] = value;
            }
        }
        return column;
    }

    std::vector<std::string> names_;
    std::string source_;
    const Settings& settings_;
    std::vector<Seen> columns_;
    std::size_t target_;
    std::int64_t rows_{};
    std::vector<json> first_rows_;
};

/// What a recipe would say of the dialect, guesses included.
json csv_json(const std::filesystem::path& file, const RecipeCsv& csv, const Settings& settings) {
    const auto dialect = csv_dialect(file, csv, settings);
    json said{{"encoding", csv.encoding == CsvEncoding::latin1 ? "latin-1" : "utf-8"},
              {"header", csv.header.value_or(true)}};
    if (dialect) {
        said["delimiter"] = dialect->delimiter == '\t' ? "tab" : std::string{dialect->delimiter};
        said["decimal"] = std::string{dialect->decimal};
    }
    return said;
}

Result<json> read_once(const std::filesystem::path& source,
                       const RecipeCsv& csv,
                       const std::string& target,
                       const Settings& settings) {
    auto names = read_header(source, csv, settings);
    if (!names) {
        return std::move(names).error();
    }
    Inspector inspector{*names, target, source.string(), settings};
    auto read = read_rows(source, csv, *names, settings, [&](const TextBlock& block) -> Result<void> {
        inspector.take(block);
        return {};
    });
    return read ? Result<json>{inspector.result()} : std::move(read).error();
}

} // namespace

Result<json> inspect(const std::filesystem::path& source,
                     const RecipeCsv& csv,
                     const std::string& target,
                     const Settings& settings) {
    const auto files = source_files(source);
    if (!files) {
        return files.error();
    }
    const auto kind = kind_of(files->front());
    if (!kind) {
        return kind.error();
    }
    RecipeCsv tried = csv;
    json notes = json::array();
    auto found = read_once(source, tried, target, settings);
    if (!found && !csv.header && found.error().message.find("data.csv.header: false") != std::string::npos) {
        tried.header = false;
        notes.push_back("the first row has only numbers: taken as a row, the columns have no names");
        found = read_once(source, tried, target, settings);
    }
    if (!found && found.error().message.find("data.csv.encoding: latin-1") != std::string::npos) {
        tried.encoding = CsvEncoding::latin1;
        notes.push_back("the text is not UTF-8: taken as Latin-1");
        found = read_once(source, tried, target, settings);
    }
    if (!found) {
        return found;
    }
    (*found)["files"] = files->size();
    (*found)["kind"] = *kind == FileKind::csv ? "csv" : *kind == FileKind::parquet ? "parquet" : "arrow";
    (*found)["notes"] = std::move(notes);
    if (*kind == FileKind::csv) {
        (*found)["csv"] = csv_json(files->front(), tried, settings);
    }
    return found;
}

} // namespace muster::data
