/// muster list, show, logs, report: what there is.
#include "app/muster/exit_code.h"
#include "app/muster/job_view.h"
#include "app/muster/plan_table.h"
#include "app/muster/verbs.h"
#include "app/muster/with_client.h"
#include "nrm/dn.h"

#include <fmt/format.h>

#include <memory>

namespace muster::app {
namespace {

using nlohmann::json;

int list(Context& context) {
    return with_client(context, [&](Client& client) -> int {
        auto objects = client.objects("SubNetwork=1");
        if (!objects) {
            return report(objects.error());
        }
        json rows = json::array();
        Table table{{"REQUEST", "STATUS", "INFERENCE", "FROM", "INFO"}, {}};
        for (const json& object : *objects) {
            if (object.value("objectClass", "") != "MLTrainingRequest") {
                continue;
            }
            const json attributes = object.value("attributes", json::object());
            const std::string process = process_of(object.value("objectInstance", ""));
            json info;
            for (const json& other : *objects) {
                if (other.value("objectInstance", "") == process) {
                    const json status =
                        other.value("attributes", json::object()).value("progressStatus", json::object());
                    info = status.value("resultStateInfo", status.value("progressStateInfo", ""));
                }
            }
            rows.push_back(object);
            table.rows.push_back({object.value("id", ""),
                                  attributes.value("requestStatus", ""),
                                  attributes.value("aIMLInferenceName", ""),
                                  attributes.value("trainingRequestSource", ""),
                                  info.is_string() ? info.get<std::string>() : ""});
        }
        print(context.format, rows, table);
        return exit_done;
    });
}

int show(Context& context, const std::string& id) {
    return with_request(context, id, [&](Client& client, const std::string& dn) -> int {
        auto view = view_job(client, dn);
        if (!view) {
            return report(view.error());
        }
        Table table{{}, {{"request", dn}, {"status", view->status()}, {"info", view->words()}}};
        if (view->agreement.is_object()) {
            table.rows.push_back({"agreement",
                                  fmt::format("{} signatures over {}",
                                              view->agreement.value("signatures", json::array()).size(),
                                              view->agreement.value("plan_digest", ""))});
        }
        for (const json& excluded :
             view->decision.is_object() ? view->decision.value("excluded", json::array()) : json::array()) {
            table.rows.push_back({"not taking part",
                                  fmt::format("{}: {} ({})",
                                              nrm::short_name(excluded.value("dn", "")),
                                              excluded.value("words", ""),
                                              excluded.value("code", ""))});
        }
        print(context.format, view->to_json(), table);
        if (context.format == Format::table && view->decision.is_object() &&
            view->decision.value("plan", json{}).is_object()) {
            const json plan = view->decision["plan"];
            fmt::print("\n{}{}\n", to_text(plan_table(plan)), plan_words(plan));
        }
        return exit_done;
    });
}

int logs(Context& context, const std::string& id) {
    return with_request(context, id, [&](Client& client, const std::string& dn) -> int {
        auto answer = client.call("GET", "/muster/v1/jobs/" + dn.substr(dn.rfind('=') + 1) + "/log");
        if (!answer) {
            return report(answer.error());
        }
        Table table{};
        for (const json& event : answer->body) {
            std::string words;
            for (const auto& [key, value] : event.items()) {
                if (key != "time" && key != "event") {
                    words += fmt::format("{}={} ", key, value.is_string() ? value.get<std::string>() : value.dump());
                }
            }
            table.rows.push_back({event.value("time", ""), event.value("event", ""), words});
        }
        print(context.format, answer->body, table);
        return exit_done;
    });
}

int show_report(Context& context, const std::string& id) {
    return with_request(context, id, [&](Client& client, const std::string& dn) -> int {
        auto view = view_job(client, dn);
        if (!view) {
            return report(view.error());
        }
        if (!view->ended()) {
            return report({ErrorCode::conflict,
                           fmt::format("{} is {}; there is a report when it has ended", id, view->status())});
        }
        if (context.format == Format::table) {
            fmt::print("{}", report_text(*view));
        } else {
            print(context.format, report_json(*view), {});
        }
        return view->status() == "FINISHED" ? exit_done : exit_no_model;
    });
}

void add_one(Context& context, const char* name, const char* about, int (*run)(Context&, const std::string&)) {
    auto id = std::make_shared<std::string>();
    CLI::App* verb = context.app.add_subcommand(name, fmt::format("{}\nExample: muster {} t1", about, name));
    verb->add_option("id", *id, "id or DN of the request")->required();
    verb->callback([&context, id, run] { context.action = [&context, id, run] { return run(context, *id); }; });
}

} // namespace

void add_inspect(Context& context) {
    CLI::App* verb = context.app.add_subcommand("list", "requests and their status\nExample: muster list");
    verb->callback([&context] { context.action = [&context] { return list(context); }; });
    add_one(context, "show", "a request with its decision, agreement and progress", show);
    add_one(context, "logs", "what has happened to a request, oldest first", logs);
    add_one(context, "report", "the result: errors, baselines, shares, times, model", show_report);
}

} // namespace muster::app
