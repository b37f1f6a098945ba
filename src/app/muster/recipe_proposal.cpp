#include "app/muster/recipe_proposal.h"

#include "app/muster/recipe_data_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr std::int64_t classes_max = 20; // whole numbers with more values are amounts
constexpr std::int64_t batches_wanted = 64;

/// A text as a YAML scalar that stays a text.
std::string quoted(const std::string& text) {
    return json(text).dump();
}

bool can_be_target(const json& column) {
    const auto kind = column.at("kind").get<std::string>();
    const bool classes = kind == "text" && !column.at("categories").is_null();
    return (kind == "number" || classes) && !is_constant(column);
}

Result<json> find_target(const json& columns, const std::string& wanted) {
    std::vector<std::string> names;
    const json* last = nullptr;
    for (const json& column : columns) {
        names.push_back(column.at("name").get<std::string>());
        if (names.back() == wanted) {
            return can_be_target(column)
                       ? Result<json>{column}
                       : Error{ErrorCode::invalid_argument,
                               "the column holds nothing that can be learned: it is empty, always the same, mixes "
                               "numbers with text, or has a text of its own in every row",
                               "--target " + wanted};
        }
        last = can_be_target(column) ? &column : last;
    }
    if (!wanted.empty()) {
        return not_allowed("--target", wanted, std::move(names));
    }
    if (last == nullptr) {
        return Error{ErrorCode::invalid_argument, "no column can be a target", "--target"};
    }
    return *last;
}

/// Why a column should be no input; empty: it may be one.
std::string reason_against(const json& column) {
    if (column.at("kind") == "empty") {
        return "empty";
    }
    if (is_constant(column)) {
        return "always the same";
    }
    if (column.at("kind") == "mixed") {
        return fmt::format("numbers and text mixed ({}); or list it under categorical", column.value("first_text", ""));
    }
    if (column.at("kind") == "text" && column.at("categories").is_null()) {
        return "another text in nearly every row: a name teaches nothing";
    }
    return leaks(column)
               ? fmt::format("gives the target away (correlation {:.6f})", column.at("correlation").get<double>())
               : "";
}

/// What the target makes of the training.
struct Task {
    const char* loss;
    const char* metrics;
};

Task task_of(const json& target) {
    const json& categories = target.at("categories");
    const bool number = target.at("kind") == "number";
    const bool classes =
        !categories.is_null() && (!number || (target.at("whole") == true && categories <= classes_max));
    if (!classes) {
        return {"l1", "MAE, RMSE, R2"};
    }
    return categories == 2 ? Task{"binary_cross_entropy", "accuracy, F1, AUC"}
                           : Task{"cross_entropy", "balanced_accuracy, log_loss"};
}

/// "ue-delay" of "data/ue delay.csv.gz" and of "ue-delay/train.csv.gz"
std::string name_for(const std::filesystem::path& source) {
    const auto whole = std::filesystem::absolute(source);
    std::string name = whole.filename().string();
    name = name.substr(0, name.find('.'));
    if (name == "train" && whole.has_parent_path()) {
        name = whole.parent_path().filename().string();
    }
    std::ranges::replace_if(
        name, [](unsigned char letter) { return std::isalnum(letter) == 0 && letter != '_'; }, '-');
    return name.empty() ? "table" : name;
}

/// What of the dialect has to be said: what a reader would not guess.
std::string csv_line(const json& inspection) {
    const json csv = inspection.value("csv", json::object());
    std::vector<std::string> said;
    if (csv.value("encoding", "utf-8") != "utf-8") {
        said.push_back("encoding: " + csv.at("encoding").get<std::string>());
    }
    if (!csv.value("header", true)) {
        said.emplace_back("header: false");
    }
    return said.empty() ? "" : fmt::format("  csv: {{{}}}\n", fmt::join(said, ", "));
}

std::int64_t batch_for(std::int64_t rows) {
    std::int64_t batch = 32;
    while (batch < 4096 && batch * batches_wanted < rows) {
        batch *= 2;
    }
    return batch;
}

} // namespace

Result<std::string>
propose_recipe(const json& inspection, const std::filesystem::path& source, const std::string& target) {
    const auto found = find_target(inspection.at("columns"), target);
    if (!found) {
        return found.error();
    }
    std::string exclude;
    std::size_t inputs = 0;
    for (const json& column : inspection.at("columns")) {
        if (column.at("name") == found->at("name")) {
            continue;
        }
        const std::string reason = reason_against(column);
        inputs += reason.empty() ? 1 : 0;
        if (!reason.empty()) {
            exclude += fmt::format("    - {} # {}\n", quoted(column.at("name").get<std::string>()), reason);
        }
    }
    if (inputs == 0) {
        return Error{ErrorCode::invalid_argument, "no column is left that could teach anything", source.string()};
    }
    const auto rows = inspection.at("rows").get<std::int64_t>();
    const Task task = task_of(*found);
    const std::string name = name_for(source);
    return fmt::format("# Proposed by `muster recipe from {}`: {} rows, {} inputs. Look at each line.\n"
                       "name: {}\n"
                       "data:\n"
                       "  source: {}/train # a name in the functions' catalogues (data[].name of function.yaml)\n"
                       "  # test: {}/test  # rows that training never sees, for the report\n"
                       "  target: {}\n"
                       "{}{}"
                       "  validation: 0.1\n"
                       "model: {{family: mlp, hidden: [128, 128]}}\n"
                       "loss: {}\n"
                       "optimizer: {{name: adamw, learning_rate: 0.003, schedule: cosine}}\n"
                       "batch: {}\n"
                       "epochs: 20\n"
                       "early_stopping: {{patience: 5}}\n"
                       "metrics: [{}]\n",
                       source.string(),
                       rows,
                       inputs,
                       quoted(name),
                       name,
                       name,
                       quoted(found->at("name").get<std::string>()),
                       exclude.empty() ? "" : "  exclude:\n" + exclude,
                       csv_line(inspection),
                       task.loss,
                       batch_for(rows),
                       task.metrics);
}

} // namespace muster::app
