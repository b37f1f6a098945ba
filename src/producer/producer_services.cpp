#include "producer/producer_services.h"

#include "base/log.h"
#include "nrm/class_table.h"
#include "planner/planner.h"
#include "producer/candidates.h"
#include "producer/managed_objects.h"
#include "wire/plan.h"
#include "wire/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace muster::producer {
namespace {

using nlohmann::json;

/// What another function measured, scaled by the cores of this one: good enough for a provisional plan.
Measured scaled(const Measured& measured, double measured_cores, double cores) {
    Measured estimate = measured;
    const double factor = measured_cores > 0.0 && cores > 0.0 ? measured_cores / cores : 1.0;
    for (StepTime& step : estimate.calibration.steps) {
        step.seconds *= factor;
    }
    return estimate;
}

/// Candidates with their measurements; those never measured get an estimate and make the plan provisional.
struct Measurements {
    std::vector<planner::Candidate> candidates{};
    DataShape shape{};
    bool provisional{};
};

Measurements measurements_of(const Desk& desk, const std::string& recipe_digest, const Choice& choice) {
    Measurements found;
    struct Row {
        FunctionState function;
        std::optional<Measured> measured;
    };
    std::vector<Row> rows;
    const Row* reference = nullptr;
    for (const std::string& dn : choice.candidates) {
        const auto function = desk.fleet.find(dn);
        if (function) {
            rows.push_back({*function, desk.calibrations.find(recipe_digest, dn, function->capacity.cpu_cores)});
        }
    }
    for (const Row& row : rows) {
        reference = reference == nullptr && row.measured ? &row : reference;
    }
    if (reference == nullptr) {
        found.provisional = true;
        return found;
    }
    const bool pinned = choice.layout == DataLayout::pinned;
    found.shape = pinned ? DataShape{} : reference->measured->shape;
    for (const Row& row : rows) {
        Measured measured =
            row.measured
                ? *row.measured
                : scaled(*reference->measured, reference->function.capacity.cpu_cores, row.function.capacity.cpu_cores);
        found.provisional = found.provisional || !row.measured;
        const auto link = desk.calibrations.find_link(row.function.dn, choice.candidates);
        measured.calibration.latency_seconds = link ? link->latency_seconds : 0.0;
        measured.calibration.bytes_per_second = link ? link->bytes_per_second : 0.0;
        measured.calibration.link_cpu_seconds_per_byte = link ? link->cpu_seconds_per_byte : 0.0;
        found.provisional = found.provisional || (!link && choice.candidates.size() > 1);
        found.candidates.push_back({.dn = row.function.dn,
                                    .calibration = measured.calibration,
                                    .memory_bytes = row.function.capacity.memory_bytes,
                                    .cpu_cores = row.function.capacity.cpu_cores,
                                    .holds_data = !choice.without_data.contains(row.function.dn)});
        if (const auto senders = choice.rows_from.find(row.function.dn); senders != choice.rows_from.end()) {
            found.candidates.back().rows_from = senders->second;
        }
        if (pinned && !row.measured) { // nothing is known of its rows
            return {.provisional = true};
        }
        if (pinned) {
            found.candidates.back().rows = row.measured->shape.training_rows;
            add_rows(found.shape, row.measured->shape);
        }
    }
    return found;
}

json reasons_of(const Choice& choice) {
    json list = json::array();
    for (const auto& [dn, reason] : choice.reasons) {
        list.push_back({{"dn", dn}, {"reason", reason}});
    }
    return list;
}

Error joined(const nrm::Problems& problems) {
    Error error = problems.front();
    if (problems.size() > 1) {
        error.message += fmt::format(" (and {} more)", problems.size() - 1);
    }
    return error;
}

} // namespace

Result<json> ProducerServices::add_recipe(const json& recipe, const std::string& caller) {
    auto added = parts_.recipes.add(recipe, caller);
    log::info("audit {} operation=add_recipe outcome={}{}",
              log::field("caller", caller),
              added ? "done" : "refused",
              added ? " " + log::field("recipe", added->value("name", ""))
                    : " " + log::field("reason", added.error().text()));
    return added;
}

json ProducerServices::list_recipes() {
    return parts_.recipes.list();
}

Result<json> ProducerServices::plan(const json& attributes, const std::string& caller) {
    nrm::Problems problems;
    const nrm::Json checked = nrm::created(**nrm::class_of("MLTrainingRequest"), attributes, problems);
    std::optional<Recipe> recipe;
    if (problems.empty()) {
        recipe = check_request(checked, parts_.recipes, problems);
    }
    if (!problems.empty()) {
        return joined(problems);
    }
    LiveJob job;
    job.record.request = parts_.desk.settings.own_function + ",MLTrainingRequest=plan";
    job.record.caller = caller;
    job.record.inference = checked.value("aIMLInferenceName", "");
    job.record.recipe = wire::to_json(*recipe);
    job.wish = wish_of(checked);
    const Choice choice = choose(parts_.desk, job);
    json answer{{"functions", choice.candidates},
                {"not_candidates", reasons_of(choice)},
                {"ignored_suggestions", unknown_suggestions(parts_.desk.fleet, job.wish)},
                {"recipe", recipe->name + "@" + recipe->digest}};
    if (choice.candidates.empty()) {
        return Error{ErrorCode::unavailable,
                     choice.refusal.empty() ? "no function qualifies now: " + reasons_text(choice) : choice.refusal};
    }
    const Measurements measured = measurements_of(parts_.desk, recipe->digest, choice);
    if (measured.candidates.empty()) {
        answer["candidates"] = json::array();
        answer["provisional"] = true;
        answer["why"] = fmt::format("nothing was measured on this model yet; {} functions would be asked and measured, "
                                    "and the plan made from that",
                                    choice.candidates.size());
        return answer;
    }
    planner::Question question{.candidates = measured.candidates,
                               .layout = choice.layout,
                               .expected_seconds = static_cast<double>(job.wish.expected_seconds)};
    ask_as_recipe(*recipe, measured.shape, question);
    auto plan = planner::decide(question);
    if (!plan) {
        return std::move(plan).error();
    }
    plan->provisional = measured.provisional;
    answer.update(wire::to_json(*plan));
    return answer;
}

json ProducerServices::list_functions() {
    json list = json::array();
    for (const FunctionState& function : parts_.desk.fleet.all()) {
        json sources = json::array();
        for (const DataSource& source : function.sources) {
            sources.push_back(wire::to_json(source));
        }
        list.push_back({{"dn", function.dn},
                        {"connected", function.connected},
                        {"version", function.version},
                        {"capacity", wire::to_json(function.capacity)},
                        {"sources", std::move(sources)},
                        {"inference_names", function.inference_names},
                        {"busy", function.busy || !function.job.empty()},
                        {"job", function.job}});
    }
    return list;
}

bool ProducerServices::may_fetch(const std::string& dn, const std::string& sha256) {
    const auto function = parts_.desk.fleet.find(dn);
    const auto jobs = load_jobs(parts_.desk.store);
    if (!function || function->job.empty() || !jobs) {
        return false;
    }
    return std::ranges::any_of(*jobs, [&](const Job& job) {
        const auto recipe = wire::recipe_from_json(job.recipe);
        return job.wire_id() == function->job && recipe && recipe->model.archive &&
               recipe->model.archive->sha256 == sha256;
    });
}

Result<json> ProducerServices::log_of(const std::string& request_id) {
    const auto jobs = load_jobs(parts_.desk.store);
    if (!jobs) {
        return jobs.error();
    }
    const Job* newest = nullptr;
    for (const Job& job : *jobs) {
        const auto dn = nrm::Dn::parse(job.request);
        const bool named = job.request == request_id || (dn && dn->leaf().id == request_id);
        if (named && (newest == nullptr || job.submitted_ms > newest->submitted_ms)) {
            newest = &job;
        }
    }
    if (newest == nullptr) {
        return Error{ErrorCode::not_found, "there is no job of a request \"" + request_id + "\""};
    }
    json list = json::array();
    for (const Event& event : newest->events) {
        list.push_back({{"time", rfc3339(WallTime{milliseconds{event.time_ms}})}, {"event", event.event}});
    }
    return list;
}

std::string ProducerServices::metrics() {
    std::map<std::string, std::size_t> requests{
        {"NOT_STARTED", 0}, {"IN_PROGRESS", 0}, {"CANCELLING", 0}, {"SUSPENDED", 0}, {"FINISHED", 0}, {"CANCELLED", 0}};
    std::size_t models = 0;
    const auto root = nrm::Dn::parse(parts_.desk.settings.root);
    const auto objects = parts_.desk.tree.read(*root, {.type = nrm::ScopeType::base_all});
    for (const nrm::Object& object : objects ? *objects : std::vector<nrm::Object>{}) {
        const std::string& name = object.dn.leaf().class_name;
        if (name == "MLTrainingRequest") {
            ++requests[object.attributes.value("requestStatus", "NOT_STARTED")];
        }
        models += name == "MLModel" ? 1 : 0;
    }
    std::size_t connected = 0;
    std::size_t busy = 0;
    const auto functions = parts_.desk.fleet.all();
    for (const FunctionState& function : functions) {
        connected += function.connected ? 1 : 0;
        busy += function.job.empty() ? 0 : 1;
    }
    std::string text = "# HELP muster_requests Training requests by status.\n# TYPE muster_requests gauge\n";
    for (const auto& [status, count] : requests) {
        text += fmt::format("muster_requests{{status=\"{}\"}} {}\n", status, count);
    }
    const auto gauge = [&](const char* name, const char* help, std::size_t value) {
        text += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n{0} {2}\n", name, help, value);
    };
    gauge("muster_jobs_unfinished", "Jobs that have not ended.", parts_.intake.unfinished());
    gauge("muster_functions_known", "Training functions ever seen.", functions.size());
    gauge("muster_functions_connected", "Training functions connected now.", connected);
    gauge("muster_functions_in_jobs", "Training functions held by a job.", busy);
    gauge("muster_models", "Models in the repository, unfinished ones included.", models);
    gauge("muster_notifications_pending", "Notifications not delivered yet.", parts_.outbox.pending());
    gauge("muster_objects", "Managed objects.", parts_.desk.tree.size());
    return text;
}

Result<void> ProducerServices::ready() {
    try {
        (void)parts_.desk.store.read("meta", "epoch");
    } catch (const StoreDown& down) {
        log::warning("not ready {}", log::field("reason", down.what()));
        return Error{ErrorCode::unavailable, "the store does not answer"};
    }
    return {};
}

} // namespace muster::producer
