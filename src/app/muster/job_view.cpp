#include "app/muster/job_view.h"

#include "app/muster/class_report.h"
#include "app/muster/group_report.h"
#include "app/muster/plan_table.h"
#include "app/muster/request_file.h"
#include "model/score.h"
#include "nrm/dn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace muster::app {
namespace {

using nlohmann::json;

json member(const json& object, const char* name) {
    return object.is_object() && object.contains(name) ? object[name] : json(nullptr);
}

std::string text(const json& object, const char* name) {
    const json value = member(object, name);
    return value.is_string() ? value.get<std::string>() : std::string{};
}

double number(const json& object, const char* name) {
    const json value = member(object, name);
    return value.is_number() ? value.get<double>() : 0.0;
}

/// {"MAE": 3.4, ...} for one model and one set of rows.
json scores(const json& participants, const std::string& model, const std::string& rows) {
    json result = json::object();
    for (const json& evaluation : member(participants, "evaluations")) {
        if (text(evaluation, "model") == model && text(evaluation, "rows") == rows) {
            for (const json& score : member(evaluation, "scores")) {
                result[text(score, "performanceMetric")] = number(score, "performanceScore");
            }
        }
    }
    return result;
}

/// {"naive": {"test": {...}}, ...} for those that there are.
json baselines(const json& participants) {
    json result = json::object();
    for (const char* model : {"naive", "persistence", "linear", "bigram"}) {
        if (json found = scores(participants, model, "test"); !found.empty()) {
            result[model] = {{"test", std::move(found)}};
        }
    }
    return result;
}

/// Three decimals; of smaller numbers as many as show three digits, of the smallest an exponent.
std::string digits_text(double value) {
    constexpr double needs_more = 0.1;
    return std::abs(value) >= needs_more || value == 0.0 ? fmt::format("{:.3f}", value) : fmt::format("{:.3g}", value);
}

/// Whether the recipe names the metric, in any case of its letters; where it names none, all are meant.
bool is_named(const json& named, std::string_view name) {
    return !named.is_array() || named.empty() || std::ranges::any_of(named, [&](const json& each) {
        const auto metric = metric_of(each.get<std::string>());
        return metric && metric->name == name;
    });
}

std::string scores_text(const json& list, const json& named) {
    std::string line;
    for (const auto& [name, value] : list.items()) {
        const auto metric = metric_of(name);
        if (!is_named(named, name)) {
            continue;
        }
        const char* unit = metric && metric->percent ? " %" : "";
        line += fmt::format("{}{} {}{}", line.empty() ? "" : "  ", name, digits_text(value.get<double>()), unit);
    }
    return line.empty() ? "-" : line;
}

Table participants_table(const json& participants) {
    Table table{{"FUNCTION", "SHARE", "ROWS", "COMPUTE", "WAITED", "SENT", "PEAK MEM"}, {}};
    for (const json& one : member(participants, "participants")) {
        const json blocks = member(one, "blocks"); // of a split model
        const std::string which =
            blocks.is_object() ? fmt::format(", blocks {:.0f}-{:.0f}", number(blocks, "first"), number(blocks, "last"))
                               : "";
        table.rows.push_back({nrm::short_name(text(one, "dn")),
                              fmt::format("{:.1f} %{}", 100.0 * number(one, "share"), which),
                              fmt::format("{:.0f}", number(one, "rows")),
                              duration_text(number(one, "compute_seconds")),
                              duration_text(number(one, "wait_seconds")),
                              bytes_text(number(one, "bytes_sent")),
                              bytes_text(number(one, "peak_memory_bytes"))});
    }
    return table;
}

/// "Rows     gnb-1 shipped 1.7 MB to gnb-2 in 0.3 s": a line for each shipment.
std::string shipments_text(const json& participants) {
    std::string lines;
    for (const json& each : member(participants, "shipments")) {
        const double before = number(each, "resumed_from");
        lines += fmt::format("Rows     {} shipped {} to {} in {}{}\n",
                             nrm::short_name(text(each, "from")),
                             bytes_text(number(each, "bytes")),
                             nrm::short_name(text(each, "to")),
                             duration_text(number(each, "seconds")),
                             before > 0 ? fmt::format(", {} of it in an attempt before", bytes_text(before)) : "");
    }
    return lines;
}

/// Where rows were, unless each function had all of them.
std::string rows_text(const json& participants) {
    if (text(participants, "layout") != "pinned") {
        return shipments_text(participants);
    }
    std::string missing;
    for (const json& dn : member(participants, "rows_missing")) {
        missing += (missing.empty() ? "; without those of " : ", ") + nrm::short_name(dn.get<std::string>());
    }
    return fmt::format("Rows     stayed at their sites, so there is no AUC and no linear model{}\n", missing);
}

Table scores_table(const json& participants) {
    Table table{{"MODEL", "TRAINING", "VALIDATION", "TEST"}, {}};
    const json named = member(participants, "metrics");
    for (const char* model : {"trained", "linear", "bigram", "persistence", "naive"}) {
        std::vector<std::string> row{model};
        bool any = false;
        for (const char* rows : {"training", "validation", "test"}) {
            const json found = scores(participants, model, rows);
            any = any || !found.empty();
            row.push_back(scores_text(found, named));
        }
        if (any) {
            table.rows.push_back(std::move(row));
        }
    }
    return table;
}

} // namespace

std::string JobView::status() const {
    const std::string of_process = text(member(process, "progressStatus"), "status");
    return of_process.empty() ? text(request, "requestStatus") : of_process;
}

bool JobView::ended() const {
    const std::string now = status();
    const std::string of_request = text(request, "requestStatus");
    const bool over = now == "FINISHED" || now == "CANCELLED";
    // The request follows its process in the same transaction; a request that is gone has ended before.
    return over && (of_request.empty() || of_request == "FINISHED" || of_request == "CANCELLED");
}

std::string JobView::words() const {
    const json status = member(process, "progressStatus");
    const std::string result = text(status, "resultStateInfo");
    return result.empty() ? text(status, "progressStateInfo") : result;
}

json JobView::to_json() const {
    return {{"dn", request_dn},
            {"request", request},
            {"process", process},
            {"decision", decision},
            {"agreement", agreement},
            {"progress", progress},
            {"report", report},
            {"participants", participants},
            {"artefact", artefact}};
}

Result<JobView> view_job(Client& client, const std::string& request_dn) {
    JobView view{.request_dn = request_dn};
    const auto parent = request_dn.substr(0, request_dn.rfind(','));
    auto objects = client.objects(parent);
    if (!objects) {
        return std::move(objects).error();
    }
    const auto data_of = [](const json& object) { return member(member(object, "attributes"), "vsData"); };
    const std::string process = process_of(request_dn);
    const std::string report = report_of(request_dn);
    for (const json& object : *objects) {
        const std::string dn = text(object, "objectInstance");
        if (dn == request_dn) {
            view.request = object["attributes"];
        } else if (dn == process) {
            view.process = object["attributes"];
        } else if (dn == report) {
            view.report = object["attributes"];
        } else if (dn == process + ",VsDataContainer=decision") {
            view.decision = data_of(object);
        } else if (dn == process + ",VsDataContainer=agreement") {
            view.agreement = data_of(object);
        } else if (dn == process + ",VsDataContainer=progress") {
            view.progress = data_of(object);
        } else if (dn == report + ",VsDataContainer=participants") {
            view.participants = data_of(object);
        }
    }
    if (view.request.is_null() && view.process.is_null()) {
        return Error{ErrorCode::not_found, "there is no request " + request_dn};
    }
    if (const std::string model = text(view.report, "mLModelGeneratedRef"); !model.empty()) {
        auto artefact = client.vendor_data(model, "artefact");
        if (!artefact) {
            return std::move(artefact).error();
        }
        view.artefact = std::move(*artefact);
    }
    return view;
}

std::string progress_line(const JobView& view) {
    const json& progress = view.progress;
    const bool trains = progress.is_object() && progress.contains("step") && !view.words().starts_with("SHIPPING");
    if (view.status() != "RUNNING" || !trains) {
        return view.status() + (view.words().empty() ? "" : "  " + view.words());
    }
    std::string rates;
    for (const json& one : member(progress, "members")) {
        rates += fmt::format(
            "{}{} {:.0f}", rates.empty() ? "" : ", ", nrm::short_name(text(one, "dn")), number(one, "rows_per_second"));
    }
    const double part = number(progress, "steps") > 0 ? number(progress, "step") / number(progress, "steps") : 0.0;
    constexpr int bar_width = 24;
    const auto filled = static_cast<std::size_t>(part * bar_width);
    return fmt::format("[{}{}] {:3.0f} %  loss {:.4f}  {:.0f} rows/s ({})  ETA {}",
                       std::string(filled, '='),
                       std::string(bar_width - filled, ' '),
                       100.0 * part,
                       number(progress, "loss"),
                       number(progress, "rows_per_second"),
                       rates,
                       progress.contains("eta_seconds") ? duration_text(number(progress, "eta_seconds")) : "?");
}

std::string report_text(const JobView& view) {
    std::string out = fmt::format("Request  {}\nResult   {}{}\n",
                                  view.request_dn,
                                  view.status(),
                                  view.words().empty() ? "" : ": " + view.words());
    if (!view.participants.is_object()) {
        return out;
    }
    const json timings = member(view.participants, "timings");
    out += fmt::format("Time     training {} (predicted {}), submit to first step {}, all {}\n\n",
                       duration_text(number(view.participants, "measured_seconds")),
                       duration_text(number(view.participants, "predicted_seconds")),
                       duration_text(number(timings, "submit_to_first_step_seconds")),
                       duration_text(number(timings, "total_seconds")));
    out += to_text(scores_table(view.participants)) + "\n";
    if (const std::string classes = class_text(view.participants); !classes.empty()) {
        out += classes + "\n";
    }
    if (const std::string groups = group_text(view.participants); !groups.empty()) {
        out += groups + "\n";
    }
    out += to_text(participants_table(view.participants)) + "\n";
    out += fmt::format("Data     {} (training), {} (test)\n",
                       text(member(view.participants, "sources"), "training"),
                       text(member(view.participants, "sources"), "test"));
    out += rows_text(view.participants);
    out += fmt::format("Model    {}  ({}, sha256 {})\n",
                       text(view.report, "mLModelGeneratedRef"),
                       bytes_text(number(view.artefact, "bytes")),
                       text(view.artefact, "sha256"));
    return out;
}

json report_json(const JobView& view) {
    json agreement{{"plan_digest", member(view.agreement, "plan_digest")}, {"signatures", json::array()}};
    for (const json& signature : member(view.agreement, "signatures")) {
        agreement["signatures"].push_back(
            {{"dn", member(signature, "dn")}, {"signature", member(signature, "signature")}});
    }
    const json plan = member(view.decision, "plan");
    return {
        {"request",
         {{"dn", view.request_dn}, {"status", view.status()}, {"result", view.words()}, {"attributes", view.request}}},
        {"decision",
         {{"candidates", member(plan, "candidates")},
          {"chosen", member(view.decision, "chosen")},
          {"why", member(view.decision, "why")},
          {"predicted", member(view.decision, "predicted")},
          {"excluded", member(view.decision, "excluded")}}},
        {"agreement", std::move(agreement)},
        {"participants", member(view.participants, "participants")},
        {"layout", member(view.participants, "layout")},
        {"rows_missing", member(view.participants, "rows_missing")},
        {"shipments", member(view.participants, "shipments")},
        {"metrics",
         {{"training", scores(view.participants, "trained", "training")},
          {"validation", scores(view.participants, "trained", "validation")},
          {"test", scores(view.participants, "trained", "test")}}},
        {"baselines", baselines(view.participants)},
        {"classes", class_report(view.participants)},
        {"groups", group_report(view.participants)},
        {"model",
         {{"dn", member(view.report, "mLModelGeneratedRef")},
          {"sha256", member(view.artefact, "sha256")},
          {"bytes", member(view.artefact, "bytes")}}},
        {"timings", member(view.participants, "timings")},
        {"predicted_seconds", member(view.participants, "predicted_seconds")},
        {"measured_seconds", member(view.participants, "measured_seconds")}};
}

} // namespace muster::app
