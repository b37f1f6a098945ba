#include "app/muster/class_report.h"

#include <fmt/format.h>

namespace muster::app {
namespace {

using nlohmann::json;

constexpr std::size_t confused_columns_max = 8; // more do not fit a terminal

/// The evaluation of the trained model on these rows that has classes; null when there is none.
json evaluation_of(const json& participants, const char* rows) {
    for (const json& evaluation : participants.value("evaluations", json::array())) {
        if (evaluation.value("model", "") == "trained" && evaluation.value("rows", "") == rows &&
            evaluation.contains("classes")) {
            return evaluation;
        }
    }
    return nullptr;
}

/// {"a": {"a": 9, "b": 1}}: rows of a class and what they were taken for.
json confusion_of(const json& evaluation) {
    const json counts = evaluation.value("confusion", json::array());
    const json& classes = evaluation.at("classes"); // all, where there is a matrix
    json confusion = json::object();
    for (std::size_t is = 0; is < counts.size(); ++is) {
        for (std::size_t guess = 0; guess < counts.size(); ++guess) {
            confusion[classes.at(is).at("name").get<std::string>()][classes.at(guess).at("name").get<std::string>()] =
                counts[is][guess];
        }
    }
    return confusion;
}

Table class_table(const json& report) {
    Table table{{"CLASS", "ROWS"}, {}};
    for (const char* metric : {"precision", "recall", "F1", "AUC"}) {
        table.header.emplace_back(metric);
    }
    for (const json& one : report.at("classes")) {
        std::vector<std::string> row{one.at("class").get<std::string>(), std::to_string(one.at("rows").get<long>())};
        for (const char* metric : {"precision", "recall", "F1", "AUC"}) {
            row.push_back(one.contains(metric) ? fmt::format("{:.3f} %", one.at(metric).get<double>()) : "-");
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

Table confusion_table(const json& confusion) {
    Table table{{"IS \\ PREDICTED"}, {}};
    for (const auto& [name, none] : confusion.items()) {
        table.header.push_back(name);
    }
    for (const auto& [name, counts] : confusion.items()) {
        std::vector<std::string> row{name};
        for (const auto& [guess, count] : counts.items()) {
            row.push_back(std::to_string(count.get<long>()));
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

} // namespace

json class_report(const json& participants) {
    if (!participants.is_object()) {
        return nullptr;
    }
    for (const char* rows : {"test", "validation", "training"}) {
        const json evaluation = evaluation_of(participants, rows);
        if (evaluation.is_null()) {
            continue;
        }
        json classes = json::array();
        for (const json& one : evaluation.at("classes")) {
            json entry{{"class", one.at("name")}, {"rows", one.at("rows")}};
            for (const json& score : one.at("scores")) {
                entry[score.at("metric").get<std::string>()] = score.at("value");
            }
            classes.push_back(std::move(entry));
        }
        return {{"rows", rows}, {"classes", std::move(classes)}, {"confusion", confusion_of(evaluation)}};
    }
    return nullptr;
}

std::string class_text(const json& participants) {
    const json report = class_report(participants);
    if (report.is_null()) {
        return "";
    }
    std::string text =
        fmt::format("Classes, on {} rows\n{}", report.at("rows").get<std::string>(), to_text(class_table(report)));
    const json& confusion = report.at("confusion");
    if (!confusion.empty() && confusion.size() <= confused_columns_max) {
        text += "\n" + to_text(confusion_table(confusion));
    }
    return text;
}

} // namespace muster::app
