#include "app/muster/group_report.h"

#include <fmt/format.h>

#include <vector>

namespace muster::app {
namespace {

using nlohmann::json;

/// The evaluation of the trained model on these rows that has groups; null when there is none.
json evaluation_of(const json& participants, const char* rows) {
    for (const json& evaluation : participants.value("evaluations", json::array())) {
        if (evaluation.value("model", "") == "trained" && evaluation.value("rows", "") == rows &&
            evaluation.contains("groups")) {
            return evaluation;
        }
    }
    return nullptr;
}

/// The recipe's metrics; where it names none, all that the groups have.
std::vector<std::string> metrics_of(const json& participants, const json& groups) {
    auto metrics = participants.value("metrics", std::vector<std::string>{});
    if (metrics.empty()) {
        for (const auto& [key, value] : groups.front().items()) {
            if (key != "group" && key != "rows") {
                metrics.push_back(key);
            }
        }
    }
    return metrics;
}

Table table_of(const std::string& input, const json& groups, const std::vector<std::string>& metrics) {
    Table table{{input, "ROWS"}, {}};
    table.header.insert(table.header.end(), metrics.begin(), metrics.end());
    for (const json& group : groups) {
        std::vector<std::string> row{group.at("group").is_null() ? "(none)" : group.at("group").get<std::string>(),
                                     std::to_string(group.at("rows").get<long>())};
        for (const std::string& metric : metrics) {
            row.push_back(group.contains(metric) ? fmt::format("{:.4g}", group.at(metric).get<double>()) : "-");
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

} // namespace

json group_report(const json& participants) {
    if (!participants.is_object()) {
        return nullptr;
    }
    for (const char* rows : {"test", "validation", "training"}) {
        const json evaluation = evaluation_of(participants, rows);
        if (evaluation.is_null()) {
            continue;
        }
        json inputs = json::object();
        for (const json& one : evaluation.at("groups")) {
            const auto name = one.at("name").get<std::string>();
            json entry{{"group", name.empty() ? json(nullptr) : json(name)}, {"rows", one.at("rows")}};
            for (const json& score : one.at("scores")) {
                entry[score.at("metric").get<std::string>()] = score.at("value");
            }
            inputs[one.at("input").get<std::string>()].push_back(std::move(entry));
        }
        return {{"rows", rows}, {"inputs", std::move(inputs)}};
    }
    return nullptr;
}

std::string group_text(const json& participants) {
    const json report = group_report(participants);
    if (report.is_null()) {
        return "";
    }
    std::string text;
    for (const auto& [input, groups] : report.at("inputs").items()) {
        text += text.empty() ? fmt::format("Scores by category, on {} rows\n", report.at("rows").get<std::string>())
                             : std::string{"\n"};
        text += to_text(table_of(input, groups, metrics_of(participants, groups)));
    }
    return text;
}

} // namespace muster::app
