/// muster data: what a source looks like.
#include "app/muster/data_program.h"
#include "app/muster/exit_code.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "wire/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>
#include <vector>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr std::size_t words_shown = 4;

struct Options {
    std::string file{};
    std::string target{};
    std::string delimiter{};
    std::string decimal{};
    std::string encoding{};
    bool no_header{};
};

/// What was said of the dialect, as data.csv of a recipe.
json csv_of(const Options& options) {
    json csv = json::object();
    for (const auto& [name, value] : {std::pair{"delimiter", &options.delimiter},
                                      std::pair{"decimal", &options.decimal},
                                      std::pair{"encoding", &options.encoding}}) {
        if (!value->empty()) {
            csv[name] = *value;
        }
    }
    if (options.no_header) {
        csv["header"] = false;
    }
    return csv;
}

std::string range_of(const json& column) {
    if (column.at("kind") == "number") {
        return fmt::format("{:.6g} to {:.6g}, mean {:.4g}, deviation {:.4g}",
                           column.at("min").get<double>(),
                           column.at("max").get<double>(),
                           column.at("mean").get<double>(),
                           column.at("deviation").get<double>());
    }
    auto words = column.at("examples").get<std::vector<std::string>>();
    const bool more = words.size() > words_shown;
    words.resize(std::min(words.size(), words_shown));
    return fmt::format("{}{}", fmt::join(words, ", "), more ? ", ..." : "");
}

Table columns_table(const json& found) {
    Table table{{"COLUMN", "KIND", "MISSING", "DIFFERENT", "VALUES"}, {}};
    for (const json& column : found.at("columns")) {
        table.rows.push_back({column.at("name").get<std::string>(),
                              column.at("kind").get<std::string>(),
                              column.at("missing").dump(),
                              column.at("categories").is_null() ? "many" : column.at("categories").dump(),
                              range_of(column)});
    }
    return table;
}

Table rows_table(const json& found) {
    Table table;
    for (const json& column : found.at("columns")) {
        table.header.push_back(column.at("name").get<std::string>());
    }
    for (const json& row : found.at("first_rows")) {
        table.rows.push_back(row.get<std::vector<std::string>>());
    }
    return table;
}

std::string headline(const json& found) {
    std::string line = fmt::format("{} rows, {} columns, {}",
                                   found.at("rows").dump(),
                                   found.at("columns").size(),
                                   found.at("kind").get<std::string>());
    if (found.at("files") > 1) {
        line += fmt::format(", {} files", found.at("files").dump());
    }
    if (found.contains("csv")) {
        const json& csv = found.at("csv");
        line += fmt::format(": cells divided by {}, decimal {}, {}, {}",
                            csv.value("delimiter", "?") == "tab" ? "tabs" : csv.value("delimiter", "?"),
                            csv.value("decimal", "?"),
                            csv.value("encoding", ""),
                            csv.value("header", true) ? "a header" : "no header");
    }
    return line;
}

int inspect(Context& context, const Options& options) {
    const auto csv = wire::csv_from_json(csv_of(options));
    const auto found = csv ? inspect_data(options.file, *csv, options.target) : Result<json>{csv.error()};
    if (!found) {
        return report(found.error());
    }
    if (context.format != Format::table) {
        print(context.format, *found, {});
        return exit_done;
    }
    fmt::print("{}\n", headline(*found));
    for (const json& note : found->at("notes")) {
        fmt::print("note: {}\n", note.get<std::string>());
    }
    fmt::print("\n{}\n{}", to_text(columns_table(*found)), to_text(rows_table(*found)));
    return exit_done;
}

} // namespace

void add_data(Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* verb = context.app.add_subcommand("data", "what a source looks like");
    verb->require_subcommand(1);
    CLI::App* inspect_verb = verb->add_subcommand(
        "inspect", "read a table and say what was understood\nExample: muster data inspect data/train.csv.gz");
    inspect_verb->add_option("file", options->file, "CSV, CSV.gz, Parquet, Arrow IPC, or a folder of them")->required();
    inspect_verb->add_option("--target", options->target, "column that the others are compared with");
    inspect_verb->add_option("--delimiter", options->delimiter, "between cells: , ; tab | (guessed)");
    inspect_verb->add_option("--decimal", options->decimal, "of numbers: . or , (guessed)");
    inspect_verb->add_option("--encoding", options->encoding, "utf-8 or latin-1 (guessed)");
    inspect_verb->add_flag("--no-header", options->no_header, "the first row is a row");
    inspect_verb->callback(
        [&context, options] { context.action = [&context, options] { return inspect(context, *options); }; });
}

} // namespace muster::app
